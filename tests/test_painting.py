"""The dice and the shapes that Balloon Town is made of."""

import numpy as np

from annlib.data.balloon_town.painting import Canvas, Dice, disc, polygon, rectangle, wave


def test_dice_agree_with_numpy_uniform_numbers() -> None:
    sequence = np.random.SeedSequence(5, spawn_key=(1,))
    expected = np.random.Generator(np.random.PCG64(sequence)).random(20)
    dice = Dice(5, stream=1)
    assert [dice.uniform(0, 1) for _ in range(20)] == list(expected)


def test_noise_has_mean_zero_and_deviation_one() -> None:
    noise = Dice(0, stream=0).noise(301, 300)
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 1], atol=0.01)


def test_wave_is_a_sine() -> None:
    turns = np.linspace(-2, 3, 1001)
    np.testing.assert_allclose(wave(turns), np.sin(2 * np.pi * turns), atol=0.002)


def test_a_polygon_of_four_corners_is_a_rectangle_inside() -> None:
    y, x = np.arange(3, 8)[:, None] + 0.5, np.arange(2, 9)[None, :] + 0.5
    corners = polygon((3, 2), (3, 9), (8, 9), (8, 2))
    np.testing.assert_allclose(corners.distance(y, x), rectangle(3, 2, 8, 9).distance(y, x))


def test_a_painted_disc_has_its_area_its_label_and_a_soft_edge() -> None:
    canvas = Canvas(31, 41)
    canvas.paint(disc(15.2, 20.7, 9), (200, 100, 50), label=3, instance=2)
    area = np.pi * 9**2
    np.testing.assert_allclose(canvas.colours.sum((1, 2)) / [200, 100, 50], area, rtol=0.01)
    np.testing.assert_allclose((canvas.labels == 3).sum(), area, rtol=0.03)
    np.testing.assert_array_equal(canvas.labels == 3, canvas.instances == 2)


def test_shapes_beyond_the_border_are_cut_off() -> None:
    canvas = Canvas(5, 7)
    canvas.paint(rectangle(-9, 4, 99, 99), (255, 255, 255), label=1)
    canvas.paint(disc(-20, -20, 3), (255, 255, 255), label=2)
    np.testing.assert_array_equal(canvas.labels, np.arange(7)[None] // 4 * np.ones((5, 1)))
