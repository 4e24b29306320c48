"""All parsers that are fuzzed, by their names."""

import data_targets
import privacy_targets
import weight_targets

TARGETS = {
    target.name: target
    for family in (privacy_targets, weight_targets, data_targets)
    for target in family.TARGETS
}
