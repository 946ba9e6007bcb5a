"""How sure a share is, by how many were asked."""


def clopper_pearson(right: float, asked: float, confidence: float) -> tuple[float, float]:
    """The exact bounds of a binomial share, lower and upper, each of which holds with `confidence` by itself.

    Clopper and Pearson 1934 (Biometrika 26), as quantiles of the Beta distribution (Brown, Cai and DasGupta 2001,
    Statistical Science 16, section 4.2.1). `right` need not be whole: where the wordings of a fact are asked together,
    the fact is what is drawn, and its share of right answers counts (Korn and Graubard 1998, Survey Methodology 24).
    """
    from scipy.special import betaincinv  # half a second, which a command that only looks need not wait

    wrong = asked - right
    lower = float(betaincinv(right, wrong + 1, 1 - confidence)) if right > 0 else 0.0
    upper = float(betaincinv(right + 1, wrong, confidence)) if wrong > 0 else 1.0
    return lower, upper
