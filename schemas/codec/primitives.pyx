# cython: language_level=3
"""The compiled codec; generated from schemas/avro by schemas.codec.build, behind its primitives.

``put_X(out, value)`` appends a value to a growing buffer, ``get_X(source, slot)`` reads one and leaves a
new reference in its owner's slot at once: so whatever fails half-way, the owner's end frees what was read.
Both return 0, or -1 with an exception set. Records are made as ``object.__new__`` would and their
``__slots__`` filled at the offsets that Python's own member descriptors tell.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from types import MemberDescriptorType
from zlib import crc32

from schemas.codec import plain, registry
from schemas.codec.errors import EncodeError, Malformed

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass
    ctypedef struct PyTypeObject:
        PyObject* (*tp_alloc)(PyTypeObject*, Py_ssize_t)
    ctypedef struct PyTupleObject:
        PyObject** ob_item
    PyObject* Py_None
    PyObject* Py_True
    PyObject* Py_False
    PyTypeObject* Py_TYPE(PyObject*)
    void Py_INCREF(PyObject*)
    void Py_XDECREF(PyObject*)
    void* PyMem_Malloc(size_t)
    void* PyMem_Realloc(void*, size_t)
    void PyMem_Free(void*)
    bint PyLong_Check(PyObject*)
    long long PyLong_AsLongLong(PyObject*) except? -1
    unsigned long PyLong_AsUnsignedLong(PyObject*) except? 0xffffffffffffffff
    PyObject* PyLong_FromLongLong(long long) except NULL
    const char* PyUnicode_AsUTF8AndSize(PyObject*, Py_ssize_t*) except NULL
    PyObject* PyUnicode_DecodeUTF8(const char*, Py_ssize_t, const char*) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(PyObject*)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject*)
    void* PyUnicode_DATA(PyObject*)
    int PyBytes_AsStringAndSize(PyObject*, char**, Py_ssize_t*) except -1
    PyObject* PyBytes_FromStringAndSize(const char*, Py_ssize_t) except NULL
    bint PyTuple_Check(PyObject*)
    PyObject* PyTuple_New(Py_ssize_t) except NULL
    Py_ssize_t PyTuple_GET_SIZE(PyObject*)
    object PyMemoryView_FromMemory(char*, Py_ssize_t, int)
    int PyBUF_READ

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member
    int T_OBJECT_EX

ctypedef const unsigned char* Bytes

cdef struct Out:
    unsigned char* data
    Py_ssize_t size
    Py_ssize_t room

cdef struct In:
    Bytes at
    Bytes end

cdef enum:
    HEADER_BYTES = 5
    CHAIN_BYTES = 4
    LONG_BYTES = 10  # of a varint of 64 bits
    FIRST_ROOM = 1024  # holds most records
    SHARED_TEXT_BYTES = 32  # longer texts are not worth a search
    SHARED_TEXTS = 8192  # some times the accounts and instruments of a busy partition

cdef PyObject* shared[SHARED_TEXTS]


cdef int start(Out* out) except -1:
    out.data = <unsigned char*>PyMem_Malloc(FIRST_ROOM)
    out.size, out.room = 0, FIRST_ROOM
    if out.data == NULL:
        raise MemoryError
    return 0


cdef int grow(Out* out, Py_ssize_t more) except -1:
    cdef Py_ssize_t room = 2 * (out.size + more)
    cdef void* data = PyMem_Realloc(out.data, room)
    if data == NULL:
        raise MemoryError
    out.data, out.room = <unsigned char*>data, room
    return 0


cdef inline int reserve(Out* out, Py_ssize_t more) except -1:
    return grow(out, more) if out.room - out.size < more else 0


cdef inline int put_varint(Out* out, int64_t number) except -1:
    cdef uint64_t rest = (<uint64_t>number << 1) ^ <uint64_t>(number >> 63)
    reserve(out, LONG_BYTES)
    while rest >= 0x80:
        out.data[out.size] = <unsigned char>(rest | 0x80)
        out.size += 1
        rest >>= 7
    out.data[out.size] = <unsigned char>rest
    out.size += 1
    return 0


cdef inline int put_raw(Out* out, const void* data, Py_ssize_t size) except -1:
    reserve(out, size)
    memcpy(out.data + out.size, data, size)
    out.size += size
    return 0


cdef inline int put_header(Out* out, unsigned int schema_id) except -1:
    cdef unsigned char[HEADER_BYTES] header
    header[0] = 0
    big_endian(header + 1, schema_id)
    return put_raw(out, header, HEADER_BYTES)


cdef inline void big_endian(unsigned char* at, unsigned long number) noexcept:
    at[0], at[1], at[2], at[3] = number >> 24, (number >> 16) & 0xff, (number >> 8) & 0xff, number & 0xff


cdef inline int put_long(Out* out, PyObject* value) except -1:
    if not PyLong_Check(value):
        raise TypeError(f"an int is needed, not {<object>value!r}")
    return put_varint(out, PyLong_AsLongLong(value))


cdef inline int put_boolean(Out* out, PyObject* value) except -1:
    if value != Py_True and value != Py_False:
        raise TypeError(f"a bool is needed, not {<object>value!r}")
    cdef unsigned char byte = value == Py_True
    return put_raw(out, &byte, 1)


cdef inline int put_string(Out* out, PyObject* value) except -1:
    cdef Py_ssize_t size
    cdef const char* data = PyUnicode_AsUTF8AndSize(value, &size)
    put_varint(out, size)
    return put_raw(out, data, size)


cdef inline int put_shared_string(Out* out, PyObject* value) except -1:
    return put_string(out, value)


cdef int put_bytes(Out* out, PyObject* value) except -1:
    cdef Py_ssize_t size
    cdef char* data
    PyBytes_AsStringAndSize(value, &data, &size)
    put_varint(out, size)
    return put_raw(out, data, size)


cdef int put_chain(Out* out, PyObject* value) except -1:
    cdef unsigned char[CHAIN_BYTES] data
    cdef unsigned long chain = PyLong_AsUnsignedLong(value)
    if chain > 0xffffffff:
        raise OverflowError("a chain has four bytes")
    big_endian(data, chain)
    return put_raw(out, data, CHAIN_BYTES)


cdef inline PyObject* need_tuple(PyObject* value) except NULL:
    if not PyTuple_Check(value):
        raise TypeError(f"a tuple is needed, not {<object>value!r}")
    return value


cdef int misfit(PyObject* value) except -1:
    raise EncodeError(f"{<object>value!r} has no place here")


cdef int refuse(str why) except -1:
    raise Malformed(why)


cdef inline int get_varint(In* source, int64_t* number) except -1:
    """Reads the shortest form only: what an encoder writes."""
    cdef uint64_t rest = 0
    cdef unsigned char byte
    cdef int shift = 0
    while source.at < source.end:
        byte = source.at[0]
        source.at += 1
        rest |= <uint64_t>(byte & 0x7f) << shift
        if byte < 0x80:
            if (shift > 0 and byte == 0) or (shift == 63 and byte > 1):
                return refuse("an integer is longer than it need be, or than 64 bits")
            number[0] = <int64_t>(rest >> 1) ^ -<int64_t>(rest & 1)
            return 0
        if shift == 63:
            return refuse("an integer is longer than 64 bits")
        shift += 7
    return refuse("the value ends inside an integer")


cdef inline int get_long(In* source, PyObject** slot) except -1:
    cdef int64_t number
    get_varint(source, &number)
    slot[0] = PyLong_FromLongLong(number)
    return 0


cdef inline int get_boolean(In* source, PyObject** slot) except -1:
    if source.at == source.end or source.at[0] > 1:
        return refuse("a boolean is neither 0 nor 1")
    slot[0] = Py_True if source.at[0] else Py_False
    Py_INCREF(slot[0])
    source.at += 1
    return 0


cdef inline int get_size(In* source, Py_ssize_t* size) except -1:
    cdef int64_t number
    get_varint(source, &number)
    if number < 0 or number > source.end - source.at:
        return refuse("a length is negative, or goes over the end")
    size[0] = <Py_ssize_t>number
    return 0


cdef inline int get_string(In* source, PyObject** slot) except -1:
    cdef Py_ssize_t size
    get_size(source, &size)
    slot[0] = PyUnicode_DecodeUTF8(<const char*>source.at, size, NULL)
    source.at += size
    return 0


cdef inline int get_shared_string(In* source, PyObject** slot) except -1:
    """Reads a text that comes again and again (account, instrument, side) as one object."""
    cdef Py_ssize_t size
    cdef Bytes data
    cdef PyObject** place
    get_size(source, &size)
    data = source.at
    source.at += size
    if size > SHARED_TEXT_BYTES:
        slot[0] = PyUnicode_DecodeUTF8(<const char*>data, size, NULL)
        return 0
    place = &shared[place_of(data, size)]
    if place[0] == NULL or PyUnicode_GET_LENGTH(place[0]) != size or memcmp(
        PyUnicode_DATA(place[0]), data, size
    ):
        slot[0] = PyUnicode_DecodeUTF8(<const char*>data, size, NULL)
        if not PyUnicode_IS_COMPACT_ASCII(slot[0]):
            return 0
        Py_XDECREF(place[0])
        place[0] = slot[0]
    else:
        slot[0] = place[0]
    Py_INCREF(slot[0])
    return 0


cdef inline Py_ssize_t place_of(Bytes data, Py_ssize_t size) noexcept:
    """FNV-1a, folded."""
    cdef unsigned int mixed = 2166136261
    cdef Py_ssize_t index
    for index in range(size):
        mixed = (mixed ^ data[index]) * 16777619
    return (mixed ^ (mixed >> 15)) % SHARED_TEXTS


cdef int get_bytes(In* source, PyObject** slot) except -1:
    cdef Py_ssize_t size
    get_size(source, &size)
    slot[0] = PyBytes_FromStringAndSize(<const char*>source.at, size)
    source.at += size
    return 0


cdef int get_chain(In* source, PyObject** slot) except -1:
    if source.end - source.at < CHAIN_BYTES:
        return refuse("the value ends inside a chain")
    slot[0] = PyLong_FromLongLong(four_bytes(source.at))
    source.at += CHAIN_BYTES
    return 0


cdef inline unsigned int four_bytes(Bytes at) noexcept:
    return <unsigned int>at[0] << 24 | <unsigned int>at[1] << 16 | <unsigned int>at[2] << 8 | at[3]


cdef inline int get_none(PyObject** slot) noexcept:
    Py_INCREF(Py_None)
    slot[0] = Py_None
    return 0


cdef inline int get_count(In* source, Py_ssize_t item_bytes, Py_ssize_t* count) except -1:
    """Reads the count of an array in one block, which holds as many items as bytes allow."""
    cdef int64_t number
    get_varint(source, &number)
    if number < 0 or number > (source.end - source.at) // item_bytes:
        return refuse("a count is negative, or goes over the end")
    count[0] = <Py_ssize_t>number
    return 0


cdef inline int get_end(In* source) except -1:
    if source.at == source.end or source.at[0]:
        return refuse("an array does not end with its first block")
    source.at += 1
    return 0


cdef inline int make(PyTypeObject* record, PyObject** slot) except -1:
    slot[0] = record.tp_alloc(record, 0)
    if slot[0] == NULL:
        raise MemoryError
    return 0


cdef inline PyObject** field(PyObject* record, Py_ssize_t offset) noexcept:
    return <PyObject**>(<char*>record + offset)


cdef int demand(str fingerprint) except -1:
    """Refuses to serve when it was made from other files than there are: ImportError."""
    if registry.fingerprint() != fingerprint:
        raise ImportError("schemas/codec/_compiled is stale: run make compiled")
    return 0


cdef int bind(record, tuple names, Py_ssize_t* offsets) except -1:
    """Learns where the slots of a record type are; ImportError if they are not those of its schema."""
    if record.__struct_fields__ != names or not record.__struct_config__.frozen:
        raise ImportError(f"{record.__name__} is not what the codec was compiled for: run make compiled")
    for index, name in enumerate(names):
        descriptor = record.__dict__[name]
        if type(descriptor) is not MemberDescriptorType:
            raise ImportError(f"{record.__name__}.{name} is not a slot")
        member = (<PyMemberDescrObject*>descriptor).d_member
        if member.type != T_OBJECT_EX:
            raise ImportError(f"{record.__name__}.{name} is not a slot of an object")
        offsets[index] = member.offset
    return 0


def encode(record):
    """Encodes as ``plain.encode`` does."""
    cdef Out out
    start(&out)
    try:
        put_value(&out, <PyObject*>record)
        return <bytes>out.data[: out.size]
    except EncodeError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodeError(f"{type(record).__name__}: {error}") from error
    finally:
        PyMem_Free(out.data)


def seal(envelope, items, stage, partition, sequence, chain):
    """Seals as ``plain.seal`` does."""
    cdef Out out
    cdef tuple sealed = tuple(items)
    start(&out)
    try:
        put_sealed(&out, <PyTypeObject*>envelope, <PyObject*>sealed)
        put_varint(&out, 1)
        put_string(&out, <PyObject*>stage)
        put_long(&out, <PyObject*>partition)
        put_long(&out, <PyObject*>sequence)
        new_chain = crc32(PyMemoryView_FromMemory(<char*>out.data, out.size, PyBUF_READ), chain)
        put_chain(&out, <PyObject*>new_chain)
        return <bytes>out.data[: out.size], new_chain
    except EncodeError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodeError(f"{envelope!r}: {error}") from error
    finally:
        PyMem_Free(out.data)


def decode(value):
    """Decodes as ``plain.decode`` does, which serves the older schemas and says what is wrong with a header."""
    cdef In source
    cdef PyObject* slot = NULL
    if type(value) is not bytes:
        return plain.decode(value)
    source.at = <Bytes><char*>(<bytes>value)
    source.end = source.at + len(<bytes>value)
    if len(<bytes>value) < HEADER_BYTES or source.at[0]:
        return plain.decode(value)
    source.at += HEADER_BYTES
    try:
        if not get_value(&source, four_bytes(source.at - CHAIN_BYTES), &slot):
            return plain.decode(value)
        if source.at != source.end:
            refuse("bytes follow the record")
        return <object>slot
    except UnicodeDecodeError as error:
        raise Malformed(f"a text is not UTF-8: {error}") from error
    finally:
        Py_XDECREF(slot)


def chain_of(bytes value not None, chain):
    """Chains as ``plain.chain_of`` does."""
    cdef Py_ssize_t size = max(len(value) - CHAIN_BYTES, 0)
    return crc32(PyMemoryView_FromMemory(<char*>value, size, PyBUF_READ), chain)
