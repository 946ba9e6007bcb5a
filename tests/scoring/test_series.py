from tasks.scoring.series import series_of
from tests.scoring.made import SLICES, made_scores


def test_a_curve_has_a_point_for_every_slice_that_can_have_one():
    series = series_of([made_scores(place) for place in range(5)])
    assert [step for step, _ in series["valid.accuracy"]] == [2020, 2021, 2022, 2023, 2024]
    assert [step for step, _ in series["accuracy.2022"]] == [2022, 2023, 2024]  # unknown before, and not zero
    assert [step for step, _ in series["retained"]] == [2021, 2022, 2023, 2024]
    assert series["accuracy.2020"][0] == (2020, 0.99)
    assert series["forgetting"][-1][1] > 0


def test_slices_that_are_no_rising_numbers_stand_at_their_places():
    for slices in (("law", "medicine"), ("2021", "2020"), ("1", "01")):
        series = series_of([made_scores(place, slices) for place in range(2)])
        assert [step for step, _ in series["new"]] == [0, 1]


def test_the_made_scores_are_those_of_a_model_that_forgets_little():
    series = series_of([made_scores(place, SLICES) for place in range(5)])
    naive = series_of([made_scores(place, SLICES, keep=0.15) for place in range(5)])
    assert series["valid.accuracy"][-1][1] - naive["valid.accuracy"][-1][1] > 0.4
