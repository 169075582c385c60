# ruff: noqa: INP001 # a command, not a package
"""Generate src/dashkeeper_client/gen from proto/: messages and stubs for Google protobuf, with types.

Run by `make generate`. A process has one default pool of descriptors, in which no file and no message may
be there twice. So the files and packages get names of their own (docs/decisions/0012), and the validation
rules, which only the server needs, are left out together with their imports.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROTO = Path(__file__).parents[2] / "proto"
PACKAGES = ("dashboards/v1", "insights/v1", "registrations/v1")
RULES = ("buf/", "rules/")
PREFIX = "dashkeeper_client.gen"
FOLDER = PREFIX.replace(".", "/")


def main() -> None:
    """Generate, or with `--out` into another folder, to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "src")
    out: Path = parser.parse_args().out
    gen = out / FOLDER
    shutil.rmtree(gen, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        read = Path(temporary, "read.binpb")
        sources = [str(path) for package in PACKAGES for path in sorted((PROTO / package).glob("*.proto"))]
        protoc(
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={read}",
            f"-I{PROTO}",
            f"-I{PROTO / 'vendor'}",
            *sources,
        )
        files = FileDescriptorSet.FromString(read.read_bytes())
        move_files(files)
        ours = [file.name for file in files.file if is_ours(file)]
        services = [file.name for file in files.file if file.service]
        # The stubs call methods by the names that the server knows, so they are made first.
        out.mkdir(parents=True, exist_ok=True)
        moved = Path(temporary, "moved.binpb")
        moved.write_bytes(files.SerializeToString())
        protoc(
            f"--descriptor_set_in={moved}",
            f"--grpc_python_out={out}",
            f"--mypy_grpc_out=quiet:{out}",
            *services,
        )
        rename_packages(files)
        moved.write_bytes(files.SerializeToString())
        protoc(f"--descriptor_set_in={moved}", f"--python_out={out}", f"--mypy_out=quiet:{out}", *ours)
    for folder in (gen, *(path for path in gen.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()


def protoc(*arguments: str) -> None:
    """Run protoc; its plugins are on PATH."""
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)  # noqa: S603 # our own


def is_ours(file: FileDescriptorProto) -> bool:
    """Whether a moved file is one of ours."""
    return file.name.startswith(f"{FOLDER}/")


def move_files(files: FileDescriptorSet) -> None:
    """Put our files below PREFIX, and drop the validation rules: to this program they are unknown options."""
    kept = [file for file in files.file if not file.name.startswith(RULES)]
    del files.file[:]
    files.file.extend(kept)
    for file in files.file:
        if not file.name.startswith(PACKAGES):
            continue
        file.DiscardUnknownFields()
        file.name = f"{FOLDER}/{file.name}"
        imports = [
            f"{FOLDER}/{name}" if name.startswith(PACKAGES) else name
            for name in file.dependency
            if not name.startswith(RULES)
        ]
        file.dependency[:] = imports


def rename_packages(files: FileDescriptorSet) -> None:
    """Put our packages below PREFIX. Names of messages aren't on the wire."""
    names = tuple(f".{file.package}." for file in files.file if is_ours(file))

    def renamed(name: str) -> str:
        return f".{PREFIX}{name}" if name.startswith(names) else name

    for file in filter(is_ours, files.file):
        file.package = f"{PREFIX}.{file.package}"
        for message in messages(file.message_type):
            for field in message.field:
                if field.type_name:
                    field.type_name = renamed(field.type_name)
        for method in (method for service in file.service for method in service.method):
            method.input_type, method.output_type = renamed(method.input_type), renamed(method.output_type)


def messages(found: Iterable[DescriptorProto]) -> Iterator[DescriptorProto]:
    """Give the messages and those nested in them."""
    for message in found:
        yield message
        yield from messages(message.nested_type)


if __name__ == "__main__":
    main()
