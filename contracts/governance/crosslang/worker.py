"""Decodes, judges and encodes messages with Python's protobuf, for Go to compare.

It reads batches from standard input and answers each on standard output. All
numbers are little-endian.

    batch:  u32 number of records, u32 length of what follows;
            for each record  u16 type, u8 mode, u32 length, bytes
    answer: u32 length of what follows;
            for each record  u8 flags, u32 length, bytes

A type is an index into the list of names of the first line, which is JSON. Mode
0 decodes and encodes. Mode 1 also applies the accept rule. The bytes of the
answer are what the decoded message encodes to, empty if it was not decoded.

The rule is written down here a second time, on purpose: it shares no code with
Go's, and relies on nothing but Python's own decoder and encoder.
"""

import importlib
import json
import pkgutil
import struct
import sys
import warnings

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError

PARSED = 1    # ParseFromString returned
ACCEPTED = 2  # the accept rule holds
CUT = 4       # ParseFromString warned, or did not read to the end

warned = False


def note(*_args, **_kwargs):
    global warned
    warned = True


def parse(cls, data):
    """The message, and whether all of the input was read without a warning.

    The C++ backend takes b"\\x0c" (a stray end of a group) and b"\\x00" (tag 0)
    for the end of the input: it returns a message, a smaller length, and says
    so in a RuntimeWarning alone.
    """
    global warned
    warned = False
    message = cls()
    length = message.ParseFromString(data)
    return message, length == len(data) and not warned


def encode(message):
    return message.SerializeToString(deterministic=True)


def accept(message, whole, data):
    """The accept rule: the one encoding of a message that has nothing unknown.

    Encoding again leaves out every other way to write the message. It would let
    pass what is kept as it came: unknown fields, and known numbers with another
    wire type, which DiscardUnknownFields drops; unknown enum values; times out
    of their range.
    """
    if not whole:
        return False
    message.DiscardUnknownFields()
    if encode(message) != data:
        return False
    check = check_of(message.DESCRIPTOR)
    return check is None or check(message)


def timestamp(m):
    return -62135596800 <= m.seconds <= 253402300799 and 0 <= m.nanos <= 999999999


def duration(m):
    s, n = m.seconds, m.nanos
    return (-315576000000 <= s <= 315576000000 and -999999999 <= n <= 999999999
            and not (s < 0 < n) and not (n < 0 < s))


checks = {"google.protobuf.Timestamp": timestamp, "google.protobuf.Duration": duration}


def check_of(descriptor):
    """A function that says whether enums and times in a message are valid, or
    None where there are none."""
    name = descriptor.full_name
    if name in checks:
        return checks[name]
    parts = []
    for field in descriptor.fields:
        repeated = field.label == field.LABEL_REPEATED
        if field.enum_type is not None:
            parts.append((field.name, repeated, None, frozenset(field.enum_type.values_by_number)))
        elif field.message_type is not None:
            inner = check_of(field.message_type)
            if inner is not None:
                parts.append((field.name, repeated, inner, None))

    def check(message):
        for name, repeated, inner, values in parts:
            if values is not None:
                value = getattr(message, name)
                if repeated:
                    if not values.issuperset(value):
                        return False
                elif value not in values:
                    return False
            elif repeated:
                for element in getattr(message, name):
                    if not inner(element):
                        return False
            elif message.HasField(name) and not inner(getattr(message, name)):
                return False
        return True

    checks[name] = check if parts else None
    return checks[name]


def classes(packages, descriptor_sets):
    """Every message class of the packages' modules and of the descriptor sets,
    nested ones included, by full name."""
    found = {}

    def add(cls):
        found[cls.DESCRIPTOR.full_name] = cls
        for nested in cls.DESCRIPTOR.nested_types:
            add(getattr(cls, nested.name))

    for package in packages:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(package + "." + module.name)
            for name in module.DESCRIPTOR.message_types_by_name:
                add(getattr(module, name))
    for name in descriptor_sets:
        with open(name, "rb") as file:
            descriptors = descriptor_pb2.FileDescriptorSet.FromString(file.read())
        pool = descriptor_pool.DescriptorPool()
        for file in descriptors.file:
            pool.Add(file)
        factory = message_factory.MessageFactory(pool)
        for file in descriptors.file:
            if not file.name.startswith("google/protobuf/"):
                for descriptor in pool.FindFileByName(file.name).message_types_by_name.values():
                    add(factory.GetPrototype(descriptor))
    return found


def answer(types, payload, count):
    out = []
    at = 0
    for _ in range(count):
        kind, mode, length = struct.unpack_from("<HBI", payload, at)
        at += 7
        data = payload[at:at + length]
        at += length
        flags, encoded = 0, b""
        try:
            message, whole = parse(types[kind], data)
        except DecodeError:
            pass
        else:
            flags |= PARSED
            if not whole:
                flags |= CUT
            encoded = encode(message)
            if mode == 1 and accept(message, whole, data):
                flags |= ACCEPTED
        out.append(struct.pack("<BI", flags, len(encoded)))
        out.append(encoded)
    return b"".join(out)


def main():
    packages = [a for a in sys.argv[1:] if not a.endswith(".binpb")]
    sets = [a for a in sys.argv[1:] if a.endswith(".binpb")]
    warnings.simplefilter("always")
    warnings.showwarning = note
    found = classes(packages, sets)
    names = sorted(found)
    types = [found[name] for name in names]
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    hello = {"backend": api_implementation.Type(), "python": sys.version.split()[0], "types": names}
    stdout.write(json.dumps(hello).encode() + b"\n")
    stdout.flush()
    while True:
        head = stdin.read(8)
        if len(head) < 8:
            return
        count, length = struct.unpack("<II", head)
        payload = stdin.read(length)
        if len(payload) < length:
            raise SystemExit("the input ends within a batch")
        out = answer(types, payload, count)
        stdout.write(struct.pack("<I", len(out)))
        stdout.write(out)
        stdout.flush()


main()
