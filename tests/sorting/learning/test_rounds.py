import threading
import warnings

import numpy as np
from simulated_rounds import dictionary, learning_round

from si_crsae.sorting.learning import rounds as listeners
from si_crsae.sorting.learning.rounds import LearningCurve, announce, listen


def test_listeners_are_told_until_their_block_ends():
    heard = []
    done = learning_round(0, dictionary(), dictionary(1))
    with listen(heard.append), listen(heard.append):
        announce(done)
    announce(done)
    assert heard == [done, done]
    assert not done.is_last
    assert learning_round(0, dictionary(), None).is_last


def test_a_listener_that_raises_is_told_nothing_more_and_stops_nobody(caplog):
    heard = []

    def fail(_):
        raise RuntimeError("no room")

    done = learning_round(0, dictionary(), None)
    with listen(fail), listen(heard.append):
        with warnings.catch_warnings(action="error"):
            announce(done)
        announce(done)
    assert len(heard) == 2
    assert caplog.text.count("a listener to learning raised RuntimeError; learning goes on") == 1
    assert "no room" in caplog.text


def test_listeners_come_and_go_in_several_threads():
    def come_and_go():
        for _ in range(500):
            with listen(print):
                pass

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listeners._listeners == ()


def test_a_learning_curve_keeps_the_atoms_of_every_round():
    versions = [dictionary(2, 0), dictionary(3, 1), dictionary(1, 2)]
    rounds = [learning_round(index, *versions[index : index + 2]) for index in range(2)]
    curve = LearningCurve.of(rounds)
    assert curve.num_atoms.tolist() == [2, 3]
    assert [len(version) for version in curve.versions()] == [2, 3, 1]
    np.testing.assert_allclose(curve.versions()[1], 5.0 * versions[1].weights.numpy(), atol=5e-3)
    assert [len(version) for version in LearningCurve.of([learning_round(0, versions[0], None)]).versions()] == [2, 0]
    assert LearningCurve.of([]).versions() == []
