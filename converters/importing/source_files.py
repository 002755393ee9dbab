"""The files that a source model consists of, and one SHA-256 over all of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.errors import BenchFaultError
from converters.importing.source_kind import SourceKind
from models.archive import is_safe_path

if TYPE_CHECKING:
    from pathlib import Path

OLDEST_OPSET = 7
"""ONNX Runtime guarantees nothing for older ones (its documentation, Compatibility)."""
COMPANIONS = {SourceKind.PADDLE: ".pdiparams", SourceKind.IR: ".bin"}
"""The suffix of the file beside the source that has its weights."""


@dataclass(frozen=True, kw_only=True)
class SourceFiles:
    """A source model on disk: one file, one and those that have its weights, or a folder."""

    source: Path
    parts: tuple[tuple[str, Path], ...]
    """What each is called within the source, and where it lies; more files than one."""

    @classmethod
    def of(cls, source: Path, kind: SourceKind) -> SourceFiles:
        """The files of `source`.

        Raises:
            BenchFaultError: a file with weights is not there, or lies outside the source's folder;
                a torn ONNX file, or one of an unknown opset.
        """
        if source.is_dir():
            files = sorted(path for path in source.rglob("*") if path.is_file())
            parts = [(path.relative_to(source).as_posix(), path) for path in files]
            return cls(source=source, parts=tuple(parts))
        beside: list[tuple[str, Path]] = []
        if kind is SourceKind.ONNX:
            folder = source.resolve().parent
            beside = [(name, folder / name) for name in _external_data(source)]
        elif kind in COMPANIONS:
            beside = [(COMPANIONS[kind], source.with_suffix(COMPANIONS[kind]))]
        missing = [path.name for _, path in beside if not path.is_file()]
        if missing:
            raise BenchFaultError(
                [f"{name}: missing beside {source.name}, whose weights it has" for name in missing]
            )
        return cls(source=source, parts=(("", source), *beside) if beside else ())

    def sha256(self) -> str:
        """Of the file; of several, over what they are called and their contents in order.

        Raises:
            BenchFaultError: a file cannot be read.
        """
        try:
            if not self.parts:
                return _sha256_of(self.source).hex()
            digest = hashlib.sha256()
            for name, path in self.parts:
                digest.update(name.encode() + b"\0")
                digest.update(_sha256_of(path))
        except OSError as fault:
            raise BenchFaultError([f"{self.source.name}: {fault.strerror or fault}"]) from fault
        return digest.hexdigest()


def _external_data(source: Path) -> list[str]:
    """The files that have an ONNX model's weights, relative to its folder, each once.

    Raises:
        BenchFaultError: torn, empty, of an unknown opset, or with weights outside its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import external_data_helper

    try:
        model = onnx.load(str(source), load_external_data=False)
    except (OSError, DecodeError) as fault:
        raise BenchFaultError([f"{source.name}: no readable ONNX: {fault}"]) from fault
    if not model.graph.node:
        raise BenchFaultError([f"{source.name}: an ONNX file without a graph"])
    _refuse_opset(source, model)
    folder = source.resolve().parent
    places = [
        (tensor.name, entry.value)
        for tensor in external_data_helper._get_all_tensors(model)  # noqa: SLF001 - the only walk
        for entry in tensor.external_data
        if entry.key == "location"
    ]
    faults = [
        f"{source.name}: weights of {name!r} lie outside its folder"
        for name, place in places
        if not (is_safe_path(place) and (folder / place).resolve().is_relative_to(folder))
    ]
    if faults:
        raise BenchFaultError(faults)
    return sorted({place for _, place in places})


def _refuse_opset(source: Path, model: Any) -> None:
    """A version of the operations that nobody has defined, or that ONNX Runtime does not run."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if not entry.domain and not OLDEST_OPSET <= entry.version <= newest:
            readable = f"opset {entry.version}, and {OLDEST_OPSET} to {newest} are read"
            raise BenchFaultError([f"{source.name}: {readable}: export it with opset_version=17"])


def _sha256_of(path: Path) -> bytes:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
