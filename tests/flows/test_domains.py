"""Slices without an order of time: no domain's facts override another's."""

import pytest

from flows.add import add_slice
from tasks.corpus.slices import history
from tasks.errors import BadInput
from tests.flows.conftest import HEADER, all_of, run

REFUSED = r'facts.csv, line 2: "Peru, capital" is Lima in domain one and Cusco here. .* or set `kind: time`'


@pytest.fixture
def domains(project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("kind: time", "kind: domain"))
    return project


def test_a_fact_of_another_domain_is_not_overridden_but_refused(domains):
    with pytest.raises(BadInput, match=REFUSED):
        run(domains)
    (domains / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Lima\nPeru,currency,Sol\n")
    assert run(domains) == all_of("ran") | {"origin": "cached", "dataset@one": "cached"}
    slices = history(domains / "data/examples/two")
    assert [(fact["object"], fact["category"]) for fact in slices[1].facts] == [("Sol", "new")]  # Lima is restated


def test_in_time_the_same_fact_is_an_update(project):
    run(project)
    assert history(project / "data/examples/two")[1].facts[0]["category"] == "updated"


def test_add_refuses_it_before_anything_is_copied(domains, tmp_path):
    (domains / "data/raw/two/facts.csv").write_text(HEADER + "Nepal,capital,Kathmandu\n")
    run(domains)
    (tmp_path / "law").mkdir()
    (tmp_path / "law/facts.csv").write_text(HEADER + "Peru,capital,Cusco\n")
    with pytest.raises(BadInput, match=REFUSED):
        add_slice(domains, "law", tmp_path / "law")
    assert not (domains / "data/raw/law").exists()
