"""Reads two pages of metrics with the official parsers, the second one as strictly as OpenMetrics asks for."""

import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text


def samples(families):
    """How many samples there are; the parsers raise on anything that is not as it should be."""
    return sum(len(family.samples) for family in families)


with open(sys.argv[1], encoding="utf-8") as classic, open(sys.argv[2], encoding="utf-8") as modern:
    print(samples(text.text_string_to_metric_families(classic.read())))
    print(samples(openmetrics.text_string_to_metric_families(modern.read())))
