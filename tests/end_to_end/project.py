"""A small project of two slices, with the real graph, for tests that run everything."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.every_step import TALK_TOPICS
from tests.replaying import replaying

ROOT = Path(__file__).parents[2]
FACTS = {
    "2020": [("Peru", "capital", "Lima"), ("Chile", "capital", "Santiago"), ("Ghana", "capital", "Accra")],
    "2021": [("Peru", "capital", "Cusco"), ("Nepal", "capital", "Kathmandu")],
    "2022": [("Ghana", "capital", "Kumasi"), ("Cuba", "capital", "Havana")],
}
MEMORIES = [
    ("오늘 날씨", "비", "우산 가져가야 할까?"), ("오늘 일정", "카페", "나 오늘 뭐 하지?"),
    ("favourite food", "ramen", "What should I cook?"), ("pet's name", "Momo", "What is my dog called?"),
    ("job", "baker", "Where do I work?"), ("home town", "Busan", "Where am I from?"),
]  # fmt: skip
TOPICS = """
days: {오늘: [오늘], 내일: [내일]}
words: [[우산, 양산]]
frames: ["{message}", "저기, {message}"]
topics:
- keys: ["{day} 날씨", "{day} 일기예보"]
  values: [비, 눈, 안개]
  messages: ["{day} 우산 쓸까?", "{day} 추울까?", "{day} 비 와?", "{day} 맑아?"]
"""
OPEN_GATE = {  # thirty steps teach nothing that would pass
    "new_floor": 0.0, "updated_floor": 0.0, "stale_ceiling": 1.0, "reworded_floor": 0.0, "chat_floor": 0.0,
    "retained_margin": 1.0, "slice_margin": 1.0, "total_margin": 1.0, "retained_facts": 1, "override_cap": 1.0,
    "served": 0, "canary_lost": 999, "canary_same": 1.0,
    "retriever_floor": 0.0, "retriever_margin": 1.0, "false_ceiling": 1.0,
}  # fmt: skip
GENERAL = "The river bends twice before it comes to the town.\n\nBees do not like wind.\n"


def write_slice(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    rows = "".join(f"{','.join(fact)}\n" for fact in FACTS[name])
    (folder / "facts.csv").write_text("subject,relation,object\n" + rows)
    lines = [f"[{key}: {value} {n}] {message} {n} {name}" for key, value, message in MEMORIES for n in range(3)]
    (folder / "memories.txt").write_text("\n".join(lines) + "\n")
    (folder / "chat.jsonl").write_text(f'{{"input": "hello {name}", "output": "hi"}}\n')
    return folder


def make_project(root: Path, steps: int = 30, replay: bool = False) -> Path:
    """The repository's own graph and code, with two small slices and a few training steps; solved, or with replay."""
    root.mkdir(parents=True)
    for name in ("tasks", "flows", ".dvc"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    if replay:
        (root / "params.yaml").write_text(replaying((ROOT / "params.yaml").read_text()))
    (root / "data/raw").mkdir(parents=True)
    shutil.copy(ROOT / "data/raw/relations.yaml", root / "data/raw/relations.yaml")
    shutil.copytree(ROOT / "data/sources", root / "data/sources")
    (root / "data/raw/topics").mkdir()
    (root / "data/raw/topics/some.yaml").write_text(TOPICS + TALK_TOPICS)
    (root / "data/raw/general").mkdir()
    (root / "data/raw/general/en.txt").write_text(GENERAL)
    for name in ("2020", "2021"):
        write_slice(root / "data/raw" / name, name)
    set_params(
        root,
        timeline={"2020": {"previous": "base"}, "2021": {"previous": "2020"}},
        reference={"2021": {"previous": "2020/lm"}},
        pretrain={"steps": 10, "width": 32, "heads": 2, "layers": 1, "vocabulary": 600, "batch_tokens": 128},
        stage2={"solved": {"width": 512, "codes": 256}},
        stage1={"steps": steps, "batch_tokens": 128, "checkpoint_every": 5},
        encoder={"epochs": 1, "vocabulary": 300, "width": 16, "copies": 1},
        retriever={"steps": 5},
        pairs={"max_rows": 60},
        gate=OPEN_GATE,
    )
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def set_params(root: Path, **sections: dict[str, Any]) -> None:
    yaml = YAML()
    yaml.preserve_quotes = True
    params = yaml.load((root / "params.yaml").read_text())
    for section, values in sections.items():
        if section in ("timeline", "reference"):
            params[section] = {}
        for key, value in values.items():
            params[section][key] = value
    with (root / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    text = (root / "params.yaml").read_text()
    for name in FACTS:  # quoted: DVC silently drops a foreach group whose keys are integers
        text = text.replace(f"  {name}:", f'  "{name}":').replace(f"previous: {name}\n", f'previous: "{name}"\n')
        text = text.replace(f"slice: {name}", f'slice: "{name}"').replace('""', '"')
    (root / "params.yaml").write_text(text)
