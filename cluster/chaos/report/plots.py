"""The plots of a report, as plotly figures: dicts of `data` and `layout`, without colours that
depend on light or dark (the page adds those).
"""

from __future__ import annotations

from html import escape
from typing import Any

from .numbers import Curves, Numbers, Outage, Reign

Figure = dict[str, Any]

READS, WRITES = "#3b82f6", "#f59e0b"
FAILED, UNKNOWN = "#ef4444", "#a855f7"
WATCHES = "#14b8a6"
_NOBODY, _NONE = "#9ca3af", "none"
_PALETTE = (
    "#6366f1",
    "#10b981",
    "#f97316",
    "#ec4899",
    "#0ea5e9",
    "#84cc16",
    "#a855f7",
    "#eab308",
    "#14b8a6",
    "#f43f5e",
    "#64748b",
    "#d946ef",
)
#: Heights in pixels of a curve's panel, of one row in a panel of bars, and between panels.
_PANEL, _ROW, _GAP, _MARGIN = 150, 22, 46, 40


def colours(names: list[str]) -> dict[str, str]:
    """Return a colour for each name."""
    return {name: _PALETTE[n % len(_PALETTE)] for n, name in enumerate(sorted(set(names)))}


def timeline(numbers: Numbers) -> Figure:
    """Plot the whole run, panels below each other on one time axis, faults shaded."""
    curves = numbers.curves
    kinds = colours([outage.fault.kind for outage in numbers.outages])
    leaders = _rows([reign.member or _NONE for reign in numbers.reigns], last=_NONE)
    panels: list[tuple[str, int, list[dict[str, Any]], dict[str, Any]]] = [
        ("acknowledged calls per second", _PANEL, _throughput(curves), {"rangemode": "tozero"}),
        ("latency, ms (p50, dotted p99)", _PANEL, _latency(curves), {"type": "log"}),
        ("calls per second without success", _PANEL // 2, _errors(curves), {"rangemode": "tozero"}),
    ]
    if any(value is not None for value in curves.watch_p50):
        panels.append(
            (
                "watch events behind their writer's answer, ms (p50, dotted p99)",
                _PANEL // 2,
                _watches(curves),
                {"rangemode": "tozero"},
            )
        )
    if leaders:
        panels.append(("leader", _ROW * len(leaders), _leaders(numbers.reigns), _in_order(leaders)))
    if kinds:
        bars = _faults(numbers.outages, kinds)
        panels.append(("faults", _ROW * len(kinds), bars, _in_order(list(kinds))))
    height = sum(panel[1] for panel in panels) + _GAP * len(panels)
    layout: dict[str, Any] = {
        "height": height + 2 * _MARGIN,
        "margin": {"l": _left_margin([*leaders, *kinds]), "r": 20, "t": _MARGIN, "b": _MARGIN},
        "barmode": "overlay",
        "bargap": 0.15,
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0.5, "xanchor": "center"},
        "uniformtext": {"mode": "hide", "minsize": 8},
        "xaxis": {
            "title": {"text": "seconds since the run began"},
            "range": [0, numbers.seconds],
            "anchor": f"y{len(panels)}" if len(panels) > 1 else "y",
            "showspikes": True,
            "spikemode": "across",
            "spikethickness": 1,
        },
        "annotations": [],
        "shapes": [],
    }
    data: list[dict[str, Any]] = []
    top = float(height)
    for number, (title, pixels, traces, axis) in enumerate(panels, 1):
        top -= _GAP / 2
        suffix = str(number) if number > 1 else ""
        layout[f"yaxis{suffix}"] = {
            "domain": [max(0.0, (top - pixels) / height), top / height],
            "automargin": False,
            **axis,
        }
        layout["annotations"].append(_title(title, top / height))
        for trace in traces:
            data.append({**trace, "xaxis": "x", "yaxis": f"y{suffix}"})
        top -= pixels + _GAP / 2
    layout["shapes"] = [_shade(outage, kinds) for outage in numbers.outages]
    return {"data": data, "layout": layout}


def outages(numbers: Numbers) -> Figure:
    """Plot the write outages by kind of fault, one dot for each."""
    kinds = colours([outage.fault.kind for outage in numbers.outages])
    data = []
    for kind, colour in kinds.items():
        mine = [
            outage
            for outage in numbers.outages
            if outage.fault.kind == kind and outage.milliseconds is not None
        ]
        data.append(
            {
                "type": "box",
                "name": escape(kind),
                "y": [outage.milliseconds for outage in mine],
                "text": [_named(outage) for outage in mine],
                "boxpoints": "all",
                "jitter": 0.6,
                "pointpos": 0,
                "marker": {"color": colour, "size": 5, "opacity": 0.7},
                "line": {"width": 1},
                "hovertemplate": "%{text}<br>%{y:.0f} ms<extra></extra>",
            }
        )
    layout = {
        "height": 380,
        "margin": {"l": 90, "r": 20, "t": 20, "b": 60},
        "showlegend": False,
        "yaxis": {"type": "log", "title": {"text": "ms without an acknowledged write"}},
        "xaxis": {"automargin": True},
    }
    return {"data": data, "layout": layout}


def _rows(names: list[str], last: str) -> list[str]:
    """Return the distinct names in order, but one of them last."""
    return sorted(set(names), key=lambda name: (name == last, name))


def _left_margin(rows: list[str]) -> int:
    """Return the width of the longest row name in pixels."""
    return min(240, max(70, 20 + 7 * max(map(len, rows), default=0)))


def _in_order(rows: list[str]) -> dict[str, Any]:
    """Return an axis of bars with the first row on top."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [escape(row) for row in reversed(rows)],
    }


def _title(text: str, y: float) -> dict[str, Any]:
    return {
        "text": f"<b>{escape(text)}</b>",
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": y,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12},
    }


def _line(curves: Curves, name: str, values: list[Any], colour: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": curves.at,
        "y": [None if value is None else round(value, 3) for value in values],
        "line": {"color": colour, "width": 1.6, **more.pop("line", {})},
        "hovertemplate": "%{y:.4~g}",
        **more,
    }


def _throughput(curves: Curves) -> list[dict[str, Any]]:
    return [
        _line(curves, "reads", curves.reads, READS, line={"shape": "hv"}),
        _line(curves, "writes", curves.writes, WRITES, line={"shape": "hv"}),
    ]


def _latency(curves: Curves) -> list[dict[str, Any]]:
    thin = {"dash": "dot", "width": 1.2}
    return [
        _line(curves, "read p50", curves.read_p50, READS, showlegend=False),
        _line(curves, "read p99", curves.read_p99, READS, showlegend=False, line=thin),
        _line(curves, "write p50", curves.write_p50, WRITES, showlegend=False),
        _line(curves, "write p99", curves.write_p99, WRITES, showlegend=False, line=thin),
    ]


def _errors(curves: Curves) -> list[dict[str, Any]]:
    return [
        {
            "type": "bar",
            "name": name,
            "x": curves.at,
            "y": [round(value, 3) for value in values],
            "base": base,
            "customdata": [round(value, 3) for value in values],
            "width": curves.step,
            "offset": 0,
            "marker": {"color": colour, "line": {"width": 0}},
            "hovertemplate": "%{customdata:.4~g}",
        }
        for name, values, base, colour in (
            ("failed", curves.failed, 0, FAILED),
            ("unknown", curves.unknown, curves.failed, UNKNOWN),
        )
    ]


def _watches(curves: Curves) -> list[dict[str, Any]]:
    thin = {"dash": "dot", "width": 1.2}
    return [
        _line(curves, "watch p50", curves.watch_p50, WATCHES, showlegend=False),
        _line(curves, "watch p99", curves.watch_p99, WATCHES, showlegend=False, line=thin),
    ]


def _leaders(reigns: list[Reign]) -> list[dict[str, Any]]:
    palette = colours([reign.member for reign in reigns if reign.member])
    return [
        _bars(
            [reign.member or _NONE for reign in reigns],
            [(reign.began, reign.ended) for reign in reigns],
            [palette.get(reign.member, _NOBODY) for reign in reigns],
            [f"term {reign.term}" if reign.member else "no leader" for reign in reigns],
            [
                f"{escape(reign.member) or 'nobody'} led from {reign.began:.1f} s "
                f"to {reign.ended:.1f} s"
                for reign in reigns
            ],
        )
    ]


def _faults(some: list[Outage], kinds: dict[str, str]) -> list[dict[str, Any]]:
    return [
        _bars(
            [outage.fault.kind for outage in some],
            [(outage.fault.began, outage.fault.ended) for outage in some],
            [kinds[outage.fault.kind] for outage in some],
            [escape(", ".join(outage.fault.targets)) for outage in some],
            [_named(outage) for outage in some],
        )
    ]


def _bars(
    rows: list[str],
    spans: list[tuple[float, float]],
    fills: list[str],
    inside: list[str],
    hover: list[str],
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "y": [escape(row) for row in rows],
        "base": [began for began, _ in spans],
        "x": [ended - began for began, ended in spans],
        "marker": {"color": fills, "line": {"color": fills, "width": 1}},
        "text": inside,
        "textposition": "inside",
        "insidetextanchor": "start",
        "textfont": {"size": 10, "color": "#ffffff"},
        "hovertext": hover,
        "hoverinfo": "text",
        "showlegend": False,
    }


def _named(outage: Outage) -> str:
    fault = outage.fault
    text = f"fault {fault.number}: {fault.kind} {', '.join(fault.targets)}".rstrip()
    text += f", {fault.began:.1f} to {fault.ended:.1f} s"
    if fault.detail:
        text += f" ({fault.detail})"
    if outage.milliseconds is not None:
        text += f", {outage.milliseconds:.0f} ms without a write"
    return escape(text)


def _shade(outage: Outage, kinds: dict[str, str]) -> dict[str, Any]:
    fault = outage.fault
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": fault.began,
        "x1": max(fault.ended, fault.began),
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "fillcolor": kinds[fault.kind],
        "opacity": 0.13,
        "line": {"width": 0},
    }
