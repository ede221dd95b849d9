"""The protocol's messages, made from `xai_api.proto` when this module is first imported.

They live in a pool of their own, so that the official client, which registers messages of the same
names, can live in the same process. Nothing is generated: the file itself is read, as far as it
keeps to top-level messages, enums and services, `oneof`, maps of texts, and one field a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, empty_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PROTO = Path(__file__).with_name("xai_api.proto")
_FILE = "gnomon/xai_api.proto"
_FIELD = re.compile(r"(repeated |optional )?([\w.]+) (\w+) = (\d+);")
_MAP = re.compile(r"map<string, string> (\w+) = (\d+);")
_RPC = re.compile(r"rpc (\w+)\(([\w.]+)\) returns \((stream )?([\w.]+)\);")
_SCALARS = ("string", "bytes", "bool", "float", "int32", "int64", "uint32")
_Field = descriptor_pb2.FieldDescriptorProto


def _blocks(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, name, lines) of each top-level block."""
    for kind, name, body in re.findall(
        r"^(message|enum|service) (\w+) \{\n(.*?)^\}", text, re.S | re.M
    ):
        yield kind, name, [line.strip() for line in body.splitlines()]


def _fill_message(proto: Any, lines: list[str], enums: set[str]) -> None:
    inside: int | None = None
    for line in lines:
        if line.startswith("oneof "):
            inside = len(proto.oneof_decl)
            proto.oneof_decl.add(name=line.split()[1])
            continue
        if line == "}":
            inside = None
            continue
        if (mapped := _MAP.fullmatch(line)) is not None:
            _add_map(proto, mapped[1], int(mapped[2]))
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise ValueError(f"{PROTO.name}: {line!r} in {proto.name} cannot be read")
        label, kind, name, number = found.groups()
        field = proto.field.add(name=name, number=int(number))
        repeated = label == "repeated "
        field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        if kind in _SCALARS:
            field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
        else:
            field.type = _Field.TYPE_ENUM if kind in enums else _Field.TYPE_MESSAGE
            field.type_name = f".{kind}" if "." in kind else f".xai_api.{kind}"
        if inside is not None:
            field.oneof_index = inside
        field.proto3_optional = label == "optional "
    for field in proto.field:  # What is optional is alone in a oneof, and those come last.
        if field.proto3_optional:
            field.oneof_index = len(proto.oneof_decl)
            proto.oneof_decl.add(name=f"_{field.name}")


def _add_map(proto: Any, name: str, number: int) -> None:
    """A map of texts: repeated pairs, of a type inside the message."""
    entry = proto.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    for i, part in enumerate(("key", "value"), 1):
        text, optional = _Field.TYPE_STRING, _Field.LABEL_OPTIONAL
        entry.field.add(name=part, number=i, type=text, label=optional)
    proto.field.add(
        name=name,
        number=number,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_REPEATED,
        type_name=f".xai_api.{proto.name}.{entry.name}",
    )


def _file(text: str) -> Any:
    """The whole file as a descriptor."""
    whole = descriptor_pb2.FileDescriptorProto(name=_FILE, package="xai_api", syntax="proto3")
    whole.dependency.extend(re.findall(r'^import "(.+)";', text, re.M))
    blocks = list(_blocks(text))
    enums = {name for kind, name, _ in blocks if kind == "enum"}
    for kind, name, lines in blocks:
        if kind == "message":
            _fill_message(whole.message_type.add(name=name), lines, enums)
        elif kind == "enum":
            enum = whole.enum_type.add(name=name)
            for line in lines:
                value, _, number = line.rstrip(";").partition(" = ")
                enum.value.add(name=value, number=int(number))
        else:
            service = whole.service.add(name=name)
            for rpc, given, stream, returned in _RPC.findall("\n".join(lines)):
                service.method.add(
                    name=rpc,
                    input_type=f".{given}" if "." in given else f".xai_api.{given}",
                    output_type=f".xai_api.{returned}",
                    server_streaming=bool(stream),
                )
    return whole


def _loaded() -> Any:
    pool = DescriptorPool()
    for needed in (empty_pb2, timestamp_pb2):
        pool.AddSerializedFile(needed.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_file(PROTO.read_text("utf-8")).SerializeToString())
    return pool.FindFileByName(_FILE)


FILE: Any = _loaded()
"""The descriptor of everything that is spoken."""

MESSAGES: Mapping[str, Any] = {
    name: GetMessageClass(kind) for name, kind in FILE.message_types_by_name.items()
}
"""Each message's class by name."""

ENUMS: Mapping[str, int] = {
    value.name: value.number for kind in FILE.enum_types_by_name.values() for value in kind.values
}
"""Every enum's values by name: names are unique across enums, as the language asks."""


def message_class(descriptor: Any) -> Any:
    """The class of a message that an rpc takes or returns."""
    return GetMessageClass(descriptor)
