"""Labels worth a second look as a page to click through and a CSV to fill in; nothing is changed by either."""

import base64
import html
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.data.corrections import CORRECTION_COLUMNS
from chexkeras.evaluation.label_errors.confident_learning import Suspects

PAGE, TO_FILL_IN = "index.html", "suspects.csv"
_SIDE = 512
_MOST_BYTES = 200_000_000

Neighbours = Callable[[str], Sequence[str]]
"""From an image id to those of the nearest images, the nearest first."""


@checked
def write_suspects(
    suspects: Suspects,
    folder: str | Path,
    *,
    table: pd.DataFrame | None = None,
    neighbours: Neighbours | None = None,
    most: int = 200,
    overwrite: bool = False,
) -> Path:
    """Writes the most suspect labels as one HTML page without a network, and as a CSV to fill in.

    The page shows one label at a time: the image where its file can be read, score, threshold, label, and the nearest
    images where they are given. Arrow keys or j and k move, 1, 0 and u answer, s saves the answers as a CSV. Pages with
    images hold images of patients where the data set does: keep them where the images are kept.

    Args:
        suspects: From `find_suspects` or `suspects_of`.
        folder: Folder to write: a new one, or with `overwrite` one of an earlier list.
        table: Image table whose column `path` says where the images are; None shows none.
        neighbours: From an image id to the ids of the nearest images; None shows none.
        most: How many labels at most; only those that a confident score contradicts are shown.
        overwrite: Whether an earlier page and CSV, filled in or not, may be replaced.

    Returns:
        The page.

    Raises:
        FileExistsError: If the folder holds a list already and may not be replaced.
        ValueError: If the folder holds something else, lies in a run, or `most` is below 1.
    """
    checks.positive_int(most, "most")
    out = files.output_folder(
        checks.typed_path(folder, "folder"), "folder", TO_FILL_IN, "suspect labels", overwrite=overwrite
    )
    shown = suspects.table[suspects.table["confident"]].head(most)
    paths: dict[str, str] = {}
    if table is not None and "path" in table.columns:
        paths = dict(zip(table["image_id"].astype(str), table["path"].astype(str), strict=True))
    entries, images = [], {}
    for row in shown.to_dict("records"):
        near = [str(each) for each in neighbours(str(row["image_id"]))][:4] if neighbours is not None else []
        for image_id in (str(row["image_id"]), *near):
            if image_id not in images:
                images[image_id] = _inline(paths.get(image_id), _SIDE if image_id == row["image_id"] else _SIDE // 4)
        entries.append({
            "image_id": str(row["image_id"]), "finding": str(row["finding"]), "label": int(row["label"]),
            "proposed": int(row["proposed"]), "score": round(float(row["score"]), 4),
            "threshold": None if math.isnan(row["threshold"]) else round(float(row["threshold"]), 4),
            "part": str(row.get("part", "")), "near": near,
        })  # fmt: skip
    # Text from files becomes text in the page: as JSON in which no tag can begin.
    data = json.dumps({"rows": entries, "images": images, "columns": CORRECTION_COLUMNS}).replace("<", "\\u003c")
    notes = "".join(f"<p><b>Caution:</b> {html.escape(each)}</p>" for each in suspects.cautions)
    counted = "".join(f"<li>{html.escape(str(each))}</li>" for each in suspects.findings)
    page = _PAGE.replace("@NOTES@", notes).replace("@COUNTS@", counted).replace("@DATA@", data)
    out.mkdir(parents=True, exist_ok=True)
    files.write_csv(out / TO_FILL_IN, to_fill_in(shown))
    return files.write_text(out / PAGE, page)


def to_fill_in(shown: pd.DataFrame) -> pd.DataFrame:
    """Returns suspect labels as the CSV that a reader fills in, see `data.corrections`.

    Args:
        shown: Rows of `Suspects.table`.
    """
    made: dict[str, Any] = {name: shown[name].to_numpy() for name in ("image_id", "finding")}
    made |= {name: shown[name].astype(int).to_numpy() for name in ("label", "proposed")}
    return pd.DataFrame(made | dict.fromkeys(("your_label", "note", "read_by"), ""))[list(CORRECTION_COLUMNS)]


def _inline(path: str | None, side: int) -> str:
    """Returns an image as a data URL of at most so many pixels a side, "" where its file cannot be read."""
    from PIL import Image

    from chexkeras.dicom.pixels import image_file

    if not path:
        return ""
    try:
        content = files.readable(path, _MOST_BYTES).read_bytes()
        if not image_file.is_image(content[:8]):
            return ""
        grey = image_file.decode(content)
        picture = Image.fromarray(np.asarray(grey, dtype=np.uint8))
        picture.thumbnail((side, side), Image.Resampling.BOX)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=85)
    except Exception:  # noqa: BLE001 - a page without one image is still of use, whatever is wrong with the file
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Labels worth a second look</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:1rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
main{display:grid;grid-template-columns:minmax(0,32rem) minmax(16rem,1fr);gap:1.5rem}
img{max-width:100%;background:#000}.near img{width:6rem;margin:.2rem}
button{font:inherit;padding:.4rem .8rem;margin:.2rem}button[aria-pressed=true]{background:#00695c;color:#fff}
kbd{border:1px solid #999;border-radius:3px;padding:0 .3rem}textarea,input{font:inherit;width:100%;box-sizing:border-box}
@media(max-width:50rem){main{grid-template-columns:1fr}}
</style>
<h1>Labels worth a second look</h1>
@NOTES@<ul>@COUNTS@</ul>
<p>Keys: <kbd>j</kbd> <kbd>k</kbd> or arrows next and back, <kbd>1</kbd> present, <kbd>0</kbd> absent,
<kbd>u</kbd> cannot tell, <kbd>x</kbd> no answer, <kbd>s</kbd> save the answers as a CSV. Answers stay in this page until
they are saved.</p>
<label>Read by <input id="reader" autocomplete="off"></label>
<main><div id="image"></div><div><h2 id="title" aria-live="polite"></h2><div id="facts"></div>
<div id="answers"><button data-a="1">1: present</button><button data-a="0">0: absent</button>
<button data-a="unknown">u: cannot tell</button><button data-a="">x: no answer</button></div>
<label>Note <textarea id="note" rows="3"></textarea></label>
<p><button id="back">Back</button><button id="next">Next</button><button id="save">Save CSV</button></p>
<div class="near" id="near"></div></div></main>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const data=JSON.parse(document.getElementById("data").textContent),rows=data.rows,at=id=>document.getElementById(id);
let here=0;const word=v=>v===1?"present":"absent";
function picture(id,alt){if(!data.images[id]){const p=document.createElement("p");p.textContent="no image: "+id;return p}
const i=document.createElement("img");i.src=data.images[id];i.alt=alt;return i}
function show(){if(!rows.length){at("title").textContent="No label is contradicted by a confident score.";return}
const r=rows[here];at("title").textContent=(here+1)+" of "+rows.length+": "+r.finding;
at("facts").textContent="Image "+r.image_id+(r.part?" ("+r.part+" part)":"")+". Label: "+word(r.label)+". Score "+r.score
+(r.threshold===null?", no threshold":", threshold "+r.threshold)+". The scores suggest: "+word(r.proposed)+".";
at("image").replaceChildren(picture(r.image_id,"image "+r.image_id));
at("near").replaceChildren(...r.near.map(n=>picture(n,"near image "+n)));
at("note").value=r.note||"";
for(const b of at("answers").children)b.setAttribute("aria-pressed",String((r.your_label||"")===b.dataset.a))}
function go(by){here=Math.min(rows.length-1,Math.max(0,here+by));show()}
function answer(a){if(rows.length){rows[here].your_label=a;show()}}
function cell(v){let t=String(v===undefined||v===null?"":v);if(/^[\\s"']*[=+\\-@\\t\\r]/.test(t)&&!/^[+-]?[\\d.]+$/.test(t))t="'"+t;
return '"'+t.replaceAll('"','""')+'"'}
function save(){const lines=[data.columns.join(",")];for(const r of rows){r.read_by=r.your_label?at("reader").value:"";
lines.push(data.columns.map(c=>cell(r[c])).join(","))}
const a=document.createElement("a");a.href=URL.createObjectURL(new Blob([lines.join("\\r\\n")+"\\r\\n"],{type:"text/csv"}));
a.download="suspects.csv";a.click()}
at("answers").addEventListener("click",e=>{if(e.target.dataset.a!==undefined)answer(e.target.dataset.a)});
at("note").addEventListener("input",e=>{if(rows.length)rows[here].note=e.target.value});
at("back").onclick=()=>go(-1);at("next").onclick=()=>go(1);at("save").onclick=save;
document.addEventListener("keydown",e=>{if(["INPUT","TEXTAREA"].includes(e.target.tagName)||e.ctrlKey||e.metaKey||e.altKey)
return;const k={j:()=>go(1),ArrowRight:()=>go(1),k:()=>go(-1),ArrowLeft:()=>go(-1),1:()=>answer("1"),0:()=>answer("0"),
u:()=>answer("unknown"),x:()=>answer(""),s:save}[e.key];if(k){e.preventDefault();k()}});
show();
</script></html>
"""  # noqa: E501
