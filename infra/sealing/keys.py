"""The Ed25519 keys of the seals: the private one that signs, and the public ones that are trusted.

The private key is PEM (PKCS 8) in a file that only its owner may read, `data/audit/seal.key` unless told; or in the
environment, where a secret store puts it. Beside it lie `seal.pub` and the public keys of earlier days, `KEYID.pub`.
"""

import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from infra.errors import OperatorError
from infra.settings import Settings

PRIVATE: Final = "seal.key"
PUBLIC: Final = "seal.pub"
_OTHERS: Final = 0o077  # group and all
_ID_LENGTH: Final = 16


class KeyFault(OperatorError):
    """A key is missing, or is none."""


class PrivateKey(NamedTuple):
    """Signs; equal texts get equal signatures."""

    key: Ed25519PrivateKey
    key_id: str

    def sign(self, text: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self.key.sign(text)


class PublicKey(NamedTuple):
    """Checks what the private key of this id signed."""

    key: Ed25519PublicKey
    key_id: str

    def has_signed(self, text: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, of this text."""
        try:
            self.key.verify(signature, text)
        except InvalidSignature:
            return False
        return True


def key_file(settings: Settings) -> Path:
    """Where the private key lies."""
    return settings.audit_key_file or settings.data_folder / "audit" / PRIVATE


def generate(file: Path, *, rotate: bool = False) -> PublicKey:
    """Make a key pair: FILE (readable by its owner alone) and `seal.pub` beside it.

    Raises:
        KeyFault: there is a key already, and `rotate` does not say that it has had its day; its public key is kept.

    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        if not rotate:
            raise KeyFault(f"{file} is there: --rotate makes a new key, and goes on trusting the old one")
        old = _private(file.read_bytes(), str(file))
        file.with_name(f"{old.key_id}.pub").write_bytes(_pem(old.key.public_key()))
        file.unlink()
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        output.write(pem)
    file.with_name(PUBLIC).write_bytes(_pem(key.public_key()))
    return _named(key.public_key())


def ensure(settings: Settings) -> PublicKey | None:
    """Make a key where there is none yet; None if there is one."""
    if settings.audit_key is not None or key_file(settings).exists():
        return None
    return generate(key_file(settings))


def private(settings: Settings) -> PrivateKey:
    """Give the key that signs.

    Raises:
        KeyFault: there is none, others may read its file, or it is no Ed25519 key.

    """
    if settings.audit_key is not None:
        return _private(settings.audit_key.get_secret_value().encode(), "TRADING_AUDIT_KEY")
    file = key_file(settings)
    if not file.exists():
        raise KeyFault(f"there is no key to seal with at {file}: make one by `trading audit keygen`")
    if file.stat().st_mode & _OTHERS:
        raise KeyFault(f"others may read {file}: chmod 600 it")
    return _private(file.read_bytes(), str(file))


def trusted(settings: Settings, files: Iterable[Path] = ()) -> Mapping[str, PublicKey]:
    """Give the public keys of FILES, by id; unless told, those beside the private key, or the environment's.

    Raises:
        KeyFault: there is none, or a file holds none.

    """
    chosen = list(files) or sorted(key_file(settings).parent.glob("*.pub"))
    keys = [_public(file.read_bytes(), str(file)) for file in chosen]
    if not keys and settings.audit_key is not None:
        keys = [_named(private(settings).key.public_key())]
    if not keys:
        raise KeyFault(
            f"no public key is at {key_file(settings).parent}: name those of the seals by --public-key FILE"
        )
    return {key.key_id: key for key in keys}


def keep(folder: Path, trusted: Iterable[PublicKey]) -> None:
    """Write public keys into a folder, `KEYID.pub` each, so that what they sealed can be proved there."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in trusted:
        (folder / f"{key.key_id}.pub").write_bytes(_pem(key.key))


def _private(pem: bytes, where: str) -> PrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise KeyFault(f"{where} holds no private key in PEM without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault(f"{where} holds a key of another kind: an Ed25519 key is needed")
    return PrivateKey(key, _named(key.public_key()).key_id)


def _public(pem: bytes, where: str) -> PublicKey:
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise KeyFault(f"{where} holds no public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFault(f"{where} holds a key of another kind: an Ed25519 key is needed")
    return _named(key)


def _named(key: Ed25519PublicKey) -> PublicKey:
    return PublicKey(key, sha256(key.public_bytes_raw()).hexdigest()[:_ID_LENGTH])


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
