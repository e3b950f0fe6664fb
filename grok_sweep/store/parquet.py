"""Tables as bytes of Parquet that know whether they are whole.

Pages carry checksums, which every reader can verify; the footer, which says where the pages are, has none in
Parquet. So a seal lies between them, where readers never look: a digest of all other bytes of the file.
"""

import hashlib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

_SEAL = b"grok_sweep sha256 "
_SEALED = len(_SEAL) + hashlib.sha256().digest_size
_TAIL = 8  # bytes at the end of a Parquet file: the footer's length, "PAR1"


class DamagedError(Exception):
    """Bytes that are not the table that was written; says why in a few words."""


def encode(table: pa.Table) -> bytes:
    """A whole Parquet file, sealed."""
    # Neighbouring losses differ in their low bytes only: split by byte they compress best.
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    lists = [field.name for field in table.schema if pa.types.is_fixed_size_list(field.type)]  # of floats
    out = pa.BufferOutputStream()
    pq.write_table(
        table,
        out,
        compression="zstd",
        compression_level=9,
        use_dictionary=[name for name in table.schema.names if name not in [*floats, *lists]],
        column_encoding=dict.fromkeys(
            [*floats, *(f"{name}.list.element" for name in lists)], "BYTE_STREAM_SPLIT"
        ),
        write_page_checksum=True,
    )
    data = out.getvalue().to_pybytes()
    cut = _footer(data)
    return b"".join([data[:cut], _SEAL, hashlib.sha256(data).digest(), data[cut:]])


def decode(data: bytes, needed: Iterable[str], columns: list[str] | None = None) -> pa.Table:
    """The table, or some of its columns. Raises DamagedError, also where it lacks one of those `needed`."""
    _check(data)
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if not set(needed) <= set(file.schema_arrow.names):
            raise DamagedError("other columns than such a table has")
        # Without a seal only reading every page shows whether all are whole.
        table = file.read(columns=columns if is_sealed(data) else None, use_threads=False)
        return table if columns is None else table.select(columns)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DamagedError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def _footer(data: bytes) -> int:
    """Where the footer begins."""
    return len(data) - _TAIL - int.from_bytes(data[-_TAIL : -len(b"PAR1")], "little")


def is_sealed(data: bytes) -> bool:
    """Whether the table is as it was written here: others that save it again leave no seal."""
    start = _footer(data) - _SEALED
    return start >= 0 and data.startswith(_SEAL, start)


def _check(data: bytes) -> None:
    """Raises DamagedError where the seal is broken, or the end is not that of Parquet."""
    if data[-4:] != b"PAR1":
        raise DamagedError(f"cut short, {len(data)} bytes" if data else "empty")
    if is_sealed(data):
        end = _footer(data)
        whole = hashlib.sha256(data[: end - _SEALED])
        whole.update(data[end:])
        if whole.digest() != data[end - _SEALED + len(_SEAL) : end]:
            raise DamagedError("the checksum does not agree")
