"""The members of an uncompressed tar, read strictly: plain files with plain names, or nothing.

`tarfile` follows links, sparse maps, long names and pax sizes; a bundle needs none of them, so whatever is not a plain ustar file
is refused here. Format: POSIX.1-2017, pax, "ustar Interchange Format".
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import BundleError
from edge.manifest import plain_name

BLOCK = 512
CHUNK_BYTES = 1 << 20
MEMBERS = 64
PAX_BYTES = 16_384

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe", b"S": "a sparse file"}
# Attributes of a pax header that would change what a member is; times and owners do not matter.
_PAX_FORBIDDEN = ("path", "linkpath", "size", "hdrcharset", "GNU.sparse")


_laid_out: weakref.WeakSet[tempfile.TemporaryDirectory[str]] = weakref.WeakSet()


def forget_what_was_laid_out() -> None:
    """Removes the files of every open tar, for a process that is about to end without unwinding."""
    for folder in list(_laid_out):
        folder.cleanup()


@dataclass(frozen=True, slots=True)
class Member:
    """Bytes [offset, offset + size_bytes) of the tar file."""

    name: str
    offset: int
    size_bytes: int


def members(fd: int, where: str) -> list[Member]:
    """The files of the tar open at `fd`, names as stored. where: for messages. Raises BundleError for anything but plain files."""
    total = os.fstat(fd).st_size
    _refuse_compressed(os.pread(fd, 8, 0), where)
    found: list[Member] = []
    offset = headers = 0
    while True:
        header = os.pread(fd, BLOCK, offset)
        if len(header) < BLOCK:
            raise BundleError(f"{where} is not a tar or is cut off at byte {total}; fetch the bundle again")
        if header == bytes(BLOCK):
            _refuse_trailing(fd, offset, total, where)
            return found
        name, kind, size = _parse(header, offset, where)
        offset += BLOCK
        headers += 1
        if headers > 4 * MEMBERS or len(found) > MEMBERS:
            raise BundleError(f"{where} holds more than {MEMBERS} files; a bundle is {MEMBERS} files at most")
        if offset + size > total:
            raise BundleError(f"{where} is cut off inside {name!a}; fetch the bundle again")
        if kind in (b"0", b"\0"):
            found.append(Member(name, offset, size))
        elif kind in (b"x", b"g"):
            _check_pax(fd, offset, size, where)
        elif kind != b"5" or size:
            raise BundleError(f"{where}: {name!a} is {_KINDS.get(kind, 'not a plain file')}; a bundle's tar holds plain files only")
        offset += -(-size // BLOCK) * BLOCK


class Tar:
    """The files of a bundle inside one uncompressed tar, read in place.

    Raises BundleError for anything but plain files with plain names. Any thread may read; close() removes what was laid out.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._where = where
        self._laid_out: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - held until close()
        except OSError as error:
            raise BundleError(f"{where} cannot be opened ({error.strerror}); check its permissions") from None
        try:
            self._members = self._plain(members(self._file.fileno(), where))
        except BaseException:
            self._file.close()
            raise

    def _plain(self, found: list[Member]) -> dict[str, Member]:
        """Members by plain name: one leading folder, the same for all, is allowed (`tar cf b.tar starter` makes it)."""
        plain: dict[str, Member] = {}
        folder: str | None = None
        for member in found:
            head, slash, name = member.name.rpartition("/")
            folder = head if folder is None else folder
            where = f"{self._where}: {member.name!a}" if slash else self._where
            if slash and (not head or head != folder or (head != "." and not plain_name(head, where))):
                raise BundleError(f"{self._where}: the path {member.name!a} leaves the bundle's folder; only plain file names are accepted")
            plain_name(name, where)
            if name in plain or (not slash and folder):
                raise BundleError(f"{self._where}: {member.name} is in the tar twice or outside its folder; repack the bundle")
            plain[name] = member
        return plain

    def sizes(self) -> dict[str, int]:
        return {name: member.size_bytes for name, member in self._members.items()}

    def chunks(self, name: str) -> Iterator[bytes]:
        member = self._members[name]
        offset, stop = member.offset, member.offset + member.size_bytes
        while offset < stop:
            chunk = os.pread(self._file.fileno(), min(CHUNK_BYTES, stop - offset), offset)
            if not chunk:
                raise BundleError(f"{self._where}: {name} is cut off; fetch the bundle again")
            yield chunk
            offset += len(chunk)

    def file(self, name: str) -> Path:
        if self._laid_out is None:
            self._laid_out = tempfile.TemporaryDirectory(prefix="auricle-")
            _laid_out.add(self._laid_out)
        path = Path(self._laid_out.name) / name
        if not path.exists():
            with open(path, "xb") as file:
                for chunk in self.chunks(name):
                    file.write(chunk)
        return path

    def close(self) -> None:
        self._file.close()
        if self._laid_out is not None:
            self._laid_out.cleanup()


def _refuse_compressed(start: bytes, where: str) -> None:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise BundleError(f"{where} is compressed ({name}), but a bundle is a folder or an uncompressed tar; unpack it")


def _parse(header: bytes, offset: int, where: str) -> tuple[str, bytes, int]:
    """Name, type flag and size in bytes of one header block."""
    checksum = sum(header) - sum(header[148:156]) + 8 * 32
    if _octal(header[148:156]) != checksum or header[257:262] != b"ustar":
        raise BundleError(f"{where} is not a tar or is damaged at byte {offset}; fetch the bundle again")
    raw = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    name = (prefix + b"/" + raw if prefix else raw).decode("utf-8", "backslashreplace")
    size = _octal(header[124:136])
    if size is None:
        raise BundleError(f"{where}: the size of {name!a} is not a plain octal number; repack it as an ordinary tar")
    return name, header[156:157], size


def _octal(digits: bytes) -> int | None:
    text = digits.rstrip(b" \0").lstrip(b" ")
    return int(text, 8) if text and all(48 <= digit < 56 for digit in text) else None


def _check_pax(fd: int, offset: int, size: int, where: str) -> None:
    if size > PAX_BYTES:
        raise BundleError(f"{where}: a pax header of {size} bytes is too large; repack it as an ordinary tar")
    records = os.pread(fd, size, offset)
    while records.strip(b"\0"):
        length, _, _ = records.partition(b" ")
        if not length.isdigit() or len(length) > 6 or not len(length) + 2 < int(length) <= len(records):
            raise BundleError(f"{where}: a pax header is damaged; repack it as an ordinary tar")
        key = records[len(length) + 1 : int(length)].partition(b"=")[0].decode("ascii", "replace")
        if key.startswith(_PAX_FORBIDDEN):
            raise BundleError(f"{where}: a pax header changes the {key} of a member; repack it as an ordinary tar with short plain names")
        records = records[int(length) :]


def _refuse_trailing(fd: int, offset: int, total: int, where: str) -> None:
    # A tar ends with two or more zero blocks up to a multiple of 10,240 bytes (GNU, bsdtar and Python all pad so).
    rest = os.pread(fd, 2 * 10_240, offset)
    if len(rest) < 2 * BLOCK or offset + len(rest) < total or rest.strip(b"\0"):
        raise BundleError(f"{where} does not end as a tar ends (cut off, or more behind its end); fetch the bundle again")
