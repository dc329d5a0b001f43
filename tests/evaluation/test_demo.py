import io

import pandas as pd
import pytest

from si_crsae.evaluation import demo

matplotlib_image = pytest.importorskip("matplotlib.image")


@pytest.mark.slow
def test_the_demo_finds_most_units_and_draws_them(tmp_path, capsys):
    demo.main(["--out", str(tmp_path / "new"), "--duration", "15"])

    text = capsys.readouterr().out
    table = pd.read_csv(io.StringIO(text.split("\n\n")[1]), sep=r"\s+")
    assert len(table) == 12
    assert (table["accuracy"] > 0.9).mean() > 0.75
    assert "12 true units" in text

    picture = matplotlib_image.imread(tmp_path / "new" / "demo.png")
    assert picture.shape[0] > 500
    assert picture[..., :3].std() > 0.05


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--recording", "x"])
    assert "unrecognized arguments" in capsys.readouterr().err
