from si_crsae.widgets.view_models.words import counted


def test_one_is_not_many():
    assert [counted(number, "spike") for number in (0, 1, 2, 2400)] == [
        "0 spikes",
        "1 spike",
        "2 spikes",
        "2,400 spikes",
    ]
