"""Cython from the .avsc files: for each Avro type one function that writes it and one that reads it.

Texts whose field name ends in ``_id`` are made anew each; all others (accounts, instruments, sides) come
again and again, and are shared.
"""

from pathlib import Path
from textwrap import indent
from typing import Any, Final

from schemas.codec import registry
from schemas.codec.derive import WIRE_TYPES, file_stem
from schemas.record import Record

FEWEST_BYTES: Final = {"null": 0, "long": 1, "string": 1, "boolean": 1, "bytes": 1, "chain": 4}
"""How many bytes a value has at least: what a count of an array is checked by."""


def generate() -> str:
    """Gives the whole module: the primitives, the functions of all types, and the tables of wire types."""
    types = _Types()
    schemas = {record.__name__: registry.load(f"{file_stem(record)}.avsc") for record in WIRE_TYPES}
    wires = [types.name(schema) for schema in schemas.values()]
    arrays = {
        name: types.name(schema["fields"][0]["type"])
        for name, schema in schemas.items()
        if [field["name"] for field in schema["fields"]] == ["items", "origin"]
    }
    primitives = Path(__file__).with_name("primitives.pyx").read_text()
    fingerprint = f'demand("{registry.fingerprint()}")'
    parts = [primitives, fingerprint, *types.binds, *types.functions, *_wire_functions(wires, arrays)]
    return "\n\n".join(parts) + "\n"


class _Types:
    """The functions of every type met so far, each once; ``name`` is what stands behind put_ and get_."""

    def __init__(self) -> None:
        self.binds: list[str] = []
        self.functions: list[str] = []
        self._unions: dict[tuple[str, ...], str] = {}
        self._fewest = dict(FEWEST_BYTES, shared_string=1)
        self._classes = {record.__name__: record for record in Record.__subclasses__()}

    def name(self, schema: Any, string: str = "string") -> str:
        """Gives the name of a type, having made its functions; ``string`` is how its texts are read."""
        if isinstance(schema, str):
            return string if schema == "string" else _short(schema)
        if isinstance(schema, list):
            optional = schema[0] == "null"
            return self._optional(self.name(schema[1], string)) if optional else self._union(schema)
        if schema["type"] == "record":
            return self._record(_short(schema["name"]), schema["fields"])
        if schema["type"] == "array":
            return self._array(self.name(schema["items"], "shared_string"))
        assert schema == {"type": "fixed", "name": "trading.Chain", "size": 4}, f"no Struct gives {schema}"
        return "chain"

    def _record(self, name: str, fields: list[dict[str, Any]]) -> str:
        kinds = [
            self.name(field["type"], "string" if field["name"].endswith("_id") else "shared_string")
            for field in fields
        ]
        names = tuple(field["name"] for field in fields)
        if self._is_new(name, sum(self._fewest[kind] for kind in kinds)):
            self.binds.append(
                f"from {self._classes[name].__module__} import {name} as _{name}\n"
                f"cdef PyTypeObject* type_{name} = <PyTypeObject*>_{name}\n"
                f"cdef Py_ssize_t[{len(names)}] at_{name}\n"
                f"bind(_{name}, {names!r}, at_{name})"
            )
            places = [(kind, f"field({{}}, at_{name}[{index}])") for index, kind in enumerate(kinds)]
            self._function(
                name,
                [f"put_{kind}(out, {place.format('value')}[0])" for kind, place in places],
                [
                    f"make(type_{name}, slot)",
                    *(f"get_{kind}(source, {place.format('slot[0]')})" for kind, place in places),
                ],
            )
        return name

    def _array(self, item: str) -> str:
        name = f"array_{item}"
        if self._is_new(name, 1):
            self._function(
                name,
                [
                    "cdef Py_ssize_t index, count = PyTuple_GET_SIZE(need_tuple(value))",
                    "if count:",
                    "    put_varint(out, count)",
                    "for index in range(count):",
                    f"    put_{item}(out, (<PyTupleObject*>value).ob_item[index])",
                    "put_varint(out, 0)",
                ],
                [
                    "cdef Py_ssize_t index, count",
                    f"get_count(source, {max(1, self._fewest[item])}, &count)",
                    "slot[0] = PyTuple_New(count)",
                    "for index in range(count):",
                    f"    get_{item}(source, &(<PyTupleObject*>slot[0]).ob_item[index])",
                    "if count:",
                    "    get_end(source)",
                ],
            )
        return name

    def _optional(self, other: str) -> str:
        name = f"optional_{other}"
        if self._is_new(name, 1):
            self._function(
                name,
                [
                    "if value == Py_None:",
                    "    return put_varint(out, 0)",
                    "put_varint(out, 1)",
                    f"put_{other}(out, value)",
                ],
                [
                    "cdef int64_t branch",
                    "get_varint(source, &branch)",
                    "if branch == 0:",
                    "    return get_none(slot)",
                    "if branch != 1:",
                    '    return refuse("a branch of a union is out of range")',
                    f"get_{other}(source, slot)",
                ],
            )
        return name

    def _union(self, schema: list[Any]) -> str:
        branches = tuple(self.name(branch) for branch in schema)
        name = self._unions.setdefault(branches, f"union_{len(self._unions) + 1}")
        if self._is_new(name, 1 + min(self._fewest[branch] for branch in branches)):
            tests = [f"kind == type_{branch}" for branch in branches]
            self._function(
                name,
                [
                    "cdef PyTypeObject* kind = Py_TYPE(value)",
                    *_choice(
                        {
                            test: [f"put_varint(out, {index})", f"put_{branch}(out, value)"]
                            for index, (test, branch) in enumerate(zip(tests, branches, strict=True))
                        },
                        "misfit(value)",
                    ),
                ],
                [
                    "cdef int64_t branch",
                    "get_varint(source, &branch)",
                    *_choice(
                        {
                            f"branch == {index}": [f"get_{branch}(source, slot)"]
                            for index, branch in enumerate(branches)
                        },
                        'refuse("a branch of a union is out of range")',
                    ),
                ],
            )
        return name

    def _is_new(self, name: str, fewest: int) -> bool:
        known = name in self._fewest
        self._fewest[name] = fewest
        return not known

    def _function(self, name: str, put: list[str], get: list[str]) -> None:
        self.functions += [
            _function(f"put_{name}(Out* out, PyObject* value)", put),
            _function(f"get_{name}(In* source, PyObject** slot)", get),
        ]


def _wire_functions(wires: list[str], arrays: dict[str, str]) -> list[str]:
    """Gives what chooses by wire type: ``arrays`` are the kinds of the envelopes' items."""
    ids = {name: releases[-1].id for name, releases in registry.read().items()}
    kind = "cdef PyTypeObject* kind = Py_TYPE(value)"
    put = {
        f"kind == type_{name}": [f"put_header(out, {ids[name]})", f"put_{name}(out, value)"] for name in wires
    }
    seal = {
        f"envelope == type_{name}": [f"put_header(out, {ids[name]})", f"put_{array}(out, items)"]
        for name, array in arrays.items()
    }
    get = {f"schema_id == {ids[name]}": [f"get_{name}(source, slot)"] for name in wires}
    return [
        _function("put_value(Out* out, PyObject* value)", [kind, *_choice(put, "misfit(value)")]),
        _function(
            "put_sealed(Out* out, PyTypeObject* envelope, PyObject* items)",
            _choice(seal, "misfit(<PyObject*>envelope)"),
        ),
        _function(
            "get_value(In* source, unsigned int schema_id, PyObject** slot)", _choice(get, "return 0"), 1
        ),
    ]


def _short(name: str) -> str:
    short = name.rpartition(".")[2]
    return "chain" if short == "Chain" else short


def _choice(cases: dict[str, list[str]], otherwise: str) -> list[str]:
    lines = []
    for word, (test, body) in zip(["if", *["elif"] * len(cases)], cases.items(), strict=False):
        lines += [f"{word} {test}:", *(f"    {line}" for line in body)]
    return [*lines, "else:", f"    {otherwise}"]


def _function(signature: str, lines: list[str], result: int = 0) -> str:
    return f"cdef int {signature} except -1:\n" + indent("\n".join([*lines, f"return {result}"]), "    ")
