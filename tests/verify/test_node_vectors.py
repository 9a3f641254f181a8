"""The written vectors in another language: `jose` in the Node example gives each token its code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from doorward_verify.testvectors import write_vectors
from tests.support.servers import program

NODE = Path(__file__).parents[1] / "node" / "vectors.mjs"


def run_node(folder: Path) -> dict[str, object]:
    done = subprocess.run([program("node"), str(NODE), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_node_example_agrees_about_every_vector(tmp_path: Path) -> None:
    """catalogue 69, 70, 71, 72, 73, 74, 76: a verifier that shares no line with ours."""
    write_vectors(tmp_path)
    assert run_node(tmp_path) == {}


def test_a_list_with_another_bit_would_be_noticed(tmp_path: Path) -> None:
    """The lists are really read: with none at its address, a token is neither good nor ended."""
    path = write_vectors(tmp_path)
    found = json.loads(path.read_text(encoding="utf-8"))
    found["status"]["lists"][found["issuer"] + "/status/good"] = None
    path.write_text(json.dumps(found), encoding="utf-8")
    differing = run_node(tmp_path)
    assert differing["revoked"] == [["revoked"], "keys_unavailable"]
    assert differing["its bit is not set"] == [["ok"], "keys_unavailable"]
    assert "names no list" not in differing


def test_a_vector_with_another_code_would_be_noticed(tmp_path: Path) -> None:
    path = write_vectors(tmp_path)
    found = json.loads(path.read_text(encoding="utf-8"))
    changed = (found["vectors"][0], found["access"]["vectors"][0])
    for vector in changed:
        vector["accept"] = ["expired"]
    path.write_text(json.dumps(found), encoding="utf-8")
    assert run_node(tmp_path) == {vector["name"]: [["expired"], "ok"] for vector in changed}
