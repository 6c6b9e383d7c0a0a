"""Registers the engine's schemas under the ids that its records carry.

A record's id is fixed when its schema is released (`schemas/avro/registry.json`), so that no stage ever asks anyone. A
registry gives ids of its own choice, unless the text is imported first: Apicurio then knows it, and registers it
under the id that it was imported with. (Its IMPORT mode takes an id, and gives another: tried on 3.3.3.)
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro.schema import to_parsing_canonical_form

from infra.errors import OperatorError
from infra.settings import Settings
from schemas.codec import registry

TIMEOUT_S: Final = 10
COMPATIBILITY: Final = "FULL"
_CONFLUENT_API: Final = "/apis/ccompat/v7"
_IMPORT: Final = "/apis/registry/v3/admin/import?requireEmptyRegistry=false"


class RegistryError(OperatorError):
    """The registry does not answer, or does not do what it is asked."""


class RegistryConflictError(RegistryError):
    """The registry's ids are not those of the engine's records: only an operator can mend that."""


class Released(NamedTuple):
    """A released schema: its subject (the record's full name), its id on the wire, its text."""

    subject: str
    id: int
    text: str


class Registered(NamedTuple):
    """How many schemas the engine has, and how many of them the registry did not have yet."""

    all: int
    new: int


def released() -> tuple[Released, ...]:
    """Every schema that a record may carry the id of, oldest first."""
    texts = (
        (release.id, (registry.AVRO / release.file).read_text())
        for releases in registry.read().values()
        for release in releases
    )
    return tuple(sorted((Released(_name(text), id_, text) for id_, text in texts), key=lambda it: it.id))


def register(settings: Settings, schemas: tuple[Released, ...] | None = None) -> Registered:
    """Let the registry have every schema under its id, with FULL compatibility; idempotent.

    Raises:
        RegistryConflictError: it has another schema under one of the ids, or one of the schemas under another id.
        RegistryError: it does not answer.

    """
    wanted = released() if schemas is None else schemas
    with _client(settings) as client:
        new = tuple(schema for schema in wanted if not _has(client, schema, settings.registry_url))
        if new and (root := api_root(settings)):
            _import(root, new, settings)
        for schema in new:
            _register(client, schema, settings.registry_url)
        for subject in dict.fromkeys(schema.subject for schema in wanted):
            _set_compatibility(client, subject)
    return Registered(len(wanted), len(new))


def api_root(settings: Settings) -> str | None:
    """The root of Apicurio's own APIs; None: it is another registry."""
    root, found, _ = settings.registry_url.partition(_CONFLUENT_API)
    return root if found else None


def credentials(settings: Settings) -> httpx2.BasicAuth | None:
    """Who asks the registry."""
    info = settings.registry_user_info
    return httpx2.BasicAuth(*info.get_secret_value().split(":", 1)) if info else None


def _has(client: SchemaRegistryClient, schema: Released, url: str) -> bool:
    """Whether the schema is there under its id; a conflict if it is under another, or the id is another's."""
    there = _or_none(lambda: client.lookup_schema(schema.subject, Schema(schema.text, "AVRO")))
    if there is not None and there.schema_id != schema.id:
        raise _conflict(schema, url, f"registered {schema.subject} under id {there.schema_id}")
    if there is not None:
        return True
    other = _or_none(lambda: client.get_schema(schema.id))
    if other is not None and _canonical(other.schema_str) != _canonical(schema.text):
        raise _conflict(schema, url, f"given id {schema.id} to {_name(other.schema_str)}")
    return False


def _import(root: str, schemas: tuple[Released, ...], settings: Settings) -> None:
    """Let Apicurio know texts by id; it makes no subject and no version of them."""
    answer = httpx2.post(
        root + _IMPORT,
        content=_archive(schemas),
        headers={"Content-Type": "application/zip"},
        auth=credentials(settings),
        timeout=TIMEOUT_S,
    )
    if answer.is_error:
        raise RegistryError(f"the schema registry at {root} does not take an import: {answer.text}")


def _archive(schemas: tuple[Released, ...]) -> bytes:
    """Apicurio's export format, version 3, of contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("engine.Manifest.json", json.dumps({"systemVersion": "3.0", "exportVersion": "3.0"}))
        for schema in schemas:
            digest = sha256(schema.text.encode()).hexdigest()
            content = {
                "contentId": schema.id,
                "contentHash": digest,
                "artifactType": "AVRO",
                "contentType": "application/json",
            }
            archive.writestr(f"content/{digest}.Content.json", json.dumps(content))
            archive.writestr(f"content/{digest}.Content.data", schema.text)
    return buffer.getvalue()


def _register(client: SchemaRegistryClient, schema: Released, url: str) -> None:
    given = client.register_schema(schema.subject, Schema(schema.text, "AVRO"))
    if given != schema.id:
        raise _conflict(schema, url, f"given {schema.subject} the id {given}")
    _set_compatibility(client, schema.subject)  # before its next release, which is held to it


def _set_compatibility(client: SchemaRegistryClient, subject: str) -> None:
    """It is NONE by default in Apicurio, and BACKWARD in Confluent's."""
    if _or_none(lambda: client.get_compatibility(subject)) != COMPATIBILITY:
        client.set_compatibility(subject, COMPATIBILITY)


def _conflict(schema: Released, url: str, fact: str) -> RegistryConflictError:
    return RegistryConflictError(
        f"the schema registry at {url} has {fact}, but records carry id {schema.id} for {schema.subject}. Give the"
        " engine a registry of its own by TRADING_REGISTRY_URL (in Confluent's a context of its own:"
        " .../contexts/.trading), or run without sinks: no record is lost by that"
    )


@contextmanager
def _client(settings: Settings) -> Iterator[SchemaRegistryClient]:
    config: dict[str, object] = {"url": settings.registry_url, "timeout": TIMEOUT_S, "max.retries": 0}
    if settings.registry_user_info:
        config["basic.auth.user.info"] = settings.registry_user_info.get_secret_value()
    try:
        with SchemaRegistryClient(config) as client:
            yield client
    except SchemaRegistryError as error:
        raise RegistryError(f"the schema registry at {settings.registry_url} refuses: {error}") from error
    except httpx2.HTTPError as error:
        raise RegistryError(
            f"the schema registry at {settings.registry_url} does not answer ({error})"
        ) from error


def _or_none(ask: Callable[[], Any]) -> Any:
    """Give the answer, or None where it is that there is no such thing."""
    try:
        return ask()
    except SchemaRegistryError as error:
        if error.http_status_code != HTTPStatus.NOT_FOUND:
            raise
        return None


def _canonical(text: str) -> str:
    """What of a schema counts on the wire, in Avro's parsing canonical form."""
    return str(to_parsing_canonical_form(json.loads(text)))


def _name(text: str) -> str:
    """The full name of the record that a schema describes."""
    schema = json.loads(text)
    if not isinstance(schema, dict):
        return str(schema)
    name = schema.get("name", "a schema without a name")
    return f"{schema['namespace']}.{name}" if "namespace" in schema else str(name)
