"""Where the keys of the seals lie, and what is refused."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from infra.sealing.keys import KeyFault, ensure, generate, key_file, private, trusted
from infra.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An engine without a key."""
    return Settings(data_folder=tmp_path)


def test_key_is_for_its_owner_alone(settings: Settings) -> None:
    """The first start makes a key with mode 0600 and its public key beside it; the next leaves it alone."""
    made = ensure(settings)
    assert made is not None
    assert key_file(settings).stat().st_mode & 0o777 == 0o600
    assert ensure(settings) is None
    key = private(settings)
    assert key.key_id == made.key_id
    assert trusted(settings)[made.key_id].has_signed(b"text", key.sign(b"text"))
    assert not trusted(settings)[made.key_id].has_signed(b"text.", key.sign(b"text"))


def test_rotation_goes_on_trusting_the_old_key(settings: Settings) -> None:
    """A new key signs from now on; what the old one signed can still be checked."""
    old = generate(key_file(settings))
    with pytest.raises(KeyFault, match="--rotate"):
        generate(key_file(settings))
    new = generate(key_file(settings), rotate=True)
    assert private(settings).key_id == new.key_id != old.key_id
    assert trusted(settings).keys() == {old.key_id, new.key_id}


def test_key_from_the_environment_goes_before_the_file(settings: Settings) -> None:
    """A secret store gives PEM; its public key is trusted where no file is."""
    made = generate(settings.data_folder / "elsewhere.key")
    pem = (settings.data_folder / "elsewhere.key").read_text()
    told = Settings.model_validate({"data_folder": settings.data_folder, "audit_key": pem})
    assert private(told).key_id == made.key_id
    assert trusted(told).keys() == {made.key_id}
    assert ensure(told) is None


def test_what_is_no_key_is_said_in_one_line(settings: Settings) -> None:
    """Missing, readable by others, garbage, of another kind: each has its sentence."""
    with pytest.raises(KeyFault, match="trading audit keygen"):
        private(settings)
    with pytest.raises(KeyFault, match="--public-key"):
        trusted(settings)
    generate(key_file(settings))
    key_file(settings).chmod(0o644)
    with pytest.raises(KeyFault, match="chmod 600"):
        private(settings)
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text, said in ((pem.decode(), "another kind"), ("garbage", "no private key")):
        with pytest.raises(KeyFault, match=said):
            private(Settings.model_validate({"audit_key": text}))
    public = settings.data_folder / "other.pub"
    public.write_bytes(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(KeyFault, match="another kind"):
        trusted(settings, [public])
