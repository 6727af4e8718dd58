"""Figures: what was measured, against a goal and a peer; as a table for people and as JSON for programs."""

import json
from dataclasses import dataclass, field
from statistics import median

COLUMNS = ("figure", "unit", "ours", "worst", "goal", "holds", "peer", "ratio", "runs", "peer_name")


@dataclass
class Figure:
    """One row: smaller is better, and the goal is met by every run or not at all."""

    name: str
    unit: str
    goal: float
    peer: float | None = None
    peer_name: str | None = None
    values: list = field(default_factory=list)
    failures: int = 0  # runs that came to no value

    def row(self, runs_wanted):
        """The row as it is written; a run that failed, or was not done, lets it miss its goal."""
        ours = round(median(self.values), 3) if self.values else None
        worst = round(max(self.values), 3) if self.values else None
        is_whole = not self.failures and len(self.values) >= runs_wanted
        return {
            "figure": self.name,
            "unit": self.unit,
            "ours": ours,
            "worst": worst,
            "peer": self.peer,
            "peer_name": self.peer_name,
            "ratio": round(ours / self.peer, 4) if self.peer and ours is not None else None,
            "goal": self.goal,
            "holds": is_whole and max(self.values) <= self.goal,
            "runs": len(self.values),
        }


def table(rows):
    """The rows as text."""
    cells = [COLUMNS] + [tuple(shown(row[column]) for column in COLUMNS) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def shown(value):
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:g}" if isinstance(value, float) else str(value)


def write(rows, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")
