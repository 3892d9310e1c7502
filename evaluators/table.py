"""Finished experiments as an evaluator: a table with columns for the choices and columns for what came out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from archfront.space.errors import ArchfrontError, nearest

if TYPE_CHECKING:
    import pandas as pd

NOTE = b"archfront"
"""The key under which a parquet file says which of its columns are sites, and how it was made: {"sites": [...]}."""

_BOUND = re.compile(r"^\s*(\S+?)\s*(<=|>=)\s*([-+0-9.eE]+)\s*$")


class TableError(ArchfrontError, ValueError):
    """A table that cannot be read, or a question that it cannot answer."""


class NothingKeptError(TableError):
    """Bounds that no row of a table keeps."""


@dataclass(frozen=True)
class Table:
    """Architectures that were evaluated, one a row, each combination of choices at most once.

    Args:
        frame: all columns.
        sites: the columns that hold choices; together they tell rows apart.
    """

    frame: pd.DataFrame
    sites: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.frame):
            raise TableError("a table without rows holds no architecture")
        if self.frame[list(self.sites)].isna().to_numpy().any():
            raise TableError(f"a choice is missing in a row of {', '.join(self.sites)}; give inactive sites a value")
        twice = self.frame.duplicated(subset=list(self.sites))
        if twice.any():
            row = self.frame[twice].iloc[0][list(self.sites)].to_dict()
            raise TableError(f"two rows have the same choices, such as {row}; is a column of sites missing?")

    @staticmethod
    def read(file: str | Path, sites: Sequence[str] = ()) -> Table:
        """Read a parquet or CSV file.

        Args:
            sites: names of columns, or patterns such as "op_*"; by default those that the file itself names, as tables
                that archfront writes do.
        """
        import pandas as pd
        import pyarrow.parquet as pq

        file = Path(file)
        if not file.is_file():
            raise TableError(f"no such file: {file}")
        noted: Sequence[str] = ()
        try:
            if file.suffix == ".csv":
                frame = pd.read_csv(file)
            else:
                frame = pd.read_parquet(file)
                noted = json.loads((pq.read_schema(file).metadata or {}).get(NOTE, b"{}")).get("sites", ())
        except (ValueError, OSError) as error:
            raise TableError(f"{file} is neither parquet nor .csv: {error}") from None
        return Table(frame, _matching(frame, tuple(sites) or tuple(noted)))

    def write(self, file: str | Path, made: Mapping[str, Any] | None = None) -> None:
        """Write a parquet file that `read` takes without being told the sites.

        Args:
            made: how the table was made, for those who find it; kept in the file as "made".
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from archfront.space.files import replace_file

        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        note = json.dumps({"sites": self.sites} | ({} if made is None else {"made": made})).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), NOTE: note})
        replace_file(file, lambda path: pq.write_table(table, path, compression="zstd"))

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def labels(self) -> dict[str, tuple[Any, ...]]:
        """The options of every site, sorted: plain Python values."""
        return {site: tuple(sorted(self.frame[site].unique().tolist())) for site in self.sites}

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """The index of the option at every site, (rows, sites)."""
        columns = [np.searchsorted(np.array(labels), self.frame[site]) for site, labels in self.labels.items()]
        return np.stack(columns, axis=1).astype(np.int64)

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of numbers (rows,).

        Raises:
            TableError: there is none of that name, or it holds text.
        """
        import pandas as pd

        if name not in self.frame.columns:
            raise TableError(f"the table has no column {name!r}{nearest(name, map(str, self.frame.columns))}")
        if not (pd.api.types.is_numeric_dtype(self.frame[name]) or pd.api.types.is_bool_dtype(self.frame[name])):
            raise TableError(f"column {name!r} holds no numbers")
        return self.frame[name].to_numpy(dtype=float)

    def within(self, budget: str) -> Table:
        """The rows that keep bounds on columns, such as "latency_ms<=5, connected>=1".

        Raises:
            TableError: the bounds cannot be read.
            NothingKeptError: they leave nothing; with the best that each column reaches.
        """
        kept = np.ones(len(self), dtype=bool)
        reach = []
        for item in filter(str.strip, budget.split(",")):
            found = _BOUND.match(item)
            if found is None:
                raise TableError(f"cannot read the bound {item.strip()!r}; write it like latency_ms<=5")
            name, sign, limit = found.groups()
            values = self.column(name)
            kept &= values <= float(limit) if sign == "<=" else values >= float(limit)
            reach.append(f"{name} reaches {values.min() if sign == '<=' else values.max():g}")
        if not kept.any():
            raise NothingKeptError(f"no row keeps {budget}; {', '.join(reach)}")
        return Table(self.frame[kept].reset_index(drop=True), self.sites)

    def choices(self, row: int) -> dict[str, Any]:
        """The option at every site of a row."""
        return {
            site: labels[level] for (site, labels), level in zip(self.labels.items(), self.levels[row], strict=True)
        }


def _matching(frame: pd.DataFrame, patterns: Sequence[str]) -> tuple[str, ...]:
    columns = [str(column) for column in frame.columns]
    if not patterns:
        raise TableError(f"say which columns hold choices, by name or pattern; columns: {', '.join(columns)}")
    found: dict[str, None] = {}
    for pattern in patterns:
        exact = (
            [pattern] if pattern in columns else []
        )  # names of sites have brackets, which mean something in patterns
        matching = exact or [column for column in columns if fnmatchcase(column, pattern)]
        if not matching:
            raise TableError(f"no column is called {pattern!r}{nearest(pattern, columns)}")
        found |= dict.fromkeys(matching)
    return tuple(found)


def directions(objectives: str, known: Mapping[str, str]) -> dict[str, str]:
    """Read "val_accuracy:max, latency_ms": columns and whether more or less is better.

    Args:
        known: directions of columns that need not be spelled out.
    """
    found: dict[str, str] = {}
    for item in filter(str.strip, objectives.split(",")):
        name, _, way = (part.strip() for part in item.partition(":"))
        way = way or known.get(name, "min")
        if way not in ("min", "max"):
            raise TableError(f"objective {item.strip()!r}: {way!r} is no direction; write {name}:min or {name}:max")
        found[name] = way
    if not found:
        raise TableError('name the objectives, such as "val_accuracy:max, latency_ms:min"')
    return found
