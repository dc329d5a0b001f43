"""What is assumed where the units of two epochs are linked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkingAssumptions:
    """What `link_sortings` takes for granted beside its `LinkingSettings`.

    All were chosen on generated pairs of epochs, mostly with other seeds than those of the benchmarks, which measure
    them together; none was measured by itself.
    """

    max_rate_difference: float = 1e-3
    """Sampling frequencies differ by no more (fraction of one of them): some sorters round them.

    Chosen: what SpikeInterface tolerates between sortings.
    """
    max_location_difference_um: float = 0.1
    """Contacts of the two recordings are in the same place if they are no farther apart (um).

    Chosen.
    """
    min_spikes: int = 5
    """Units with fewer have no template (spikes): the error of a mean is itself estimated, and one or two would seem to
    have none.

    Chosen.
    """
    num_components: int = 6
    """Time courses on which templates are compared (components).

    Chosen.
    """
    min_energy_ratio: float = 6.0
    """A channel whose energy is not so many times that of its error says little and would blur every similarity
    (ratio); raise for fewer channels.

    Chosen.
    """
    min_share_left: float = 0.3
    """A moved template that has left the probe up to less than this must not be taken for all of it (fraction of its
    norm).

    Chosen.
    """
    relative_error: float = 1e-3
    """Error of a contact that no number of spikes averages out (fraction of the variance between contacts); without it,
    interpolation amplifies what it gets.

    Chosen.
    """
    displacement_floor: float = 0.03
    """Similarities beyond 1 minus this say no more about the displacement than those at it (cosine).

    Chosen.
    """
    window_um: float = 60.0
    """Depths closer than about this move together (um); longer for units that are few, shorter for tissue that bends.

    Chosen.
    """
    stiffness_um: float = 15.0
    """A change from one window to the next that costs as much as if one unit's template differed by a factor e more
    (um); larger lets the displacement bend.

    Chosen.
    """
    max_displacement_sds: float = 3.0
    """So many standard deviations of what is usual the largest displacement is (standard deviations): among many, some
    make a few different units alike, and large ones need more evidence.

    Chosen.
    """
    min_similarity: float = 0.5
    """Pairs less similar than this are never the same unit (cosine); what others are is learned from pairs above it.

    Chosen.
    """
    first_similarity: float = 0.8
    """Units that are each other's most similar, and at least this much, are the same to start from (cosine).

    Chosen.
    """
    similarity_floor: float = 0.005
    """Difference that the templates of a perfect match may have (1 minus the cosine).

    Chosen.
    """
    similarity_scale: float = 0.02
    """Difference that interpolation leaves in most (1 minus the cosine).

    Chosen.
    """
    shape_floor: float = 0.002
    """Difference that the time courses of a perfect match may have (1 minus the cosine).

    Chosen.
    """
    shape_scale: float = 0.004
    """Difference that time leaves in most time courses (1 minus the cosine).

    Chosen.
    """
    offsets_um: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0, 20.0)
    """Units of one epoch are compared with each other at these distances from the displacement that was found, too
    (um): at zero none is where another one is, since no sorter would have told them apart.

    Chosen.
    """
    broad_share: float = 0.02
    """Share of a broad distribution in that of pairs of different units (fraction): pairs beyond all that were seen are
    not infinitely improbable.

    Chosen.
    """
    broad_factor: float = 4.0
    """How broad that distribution is (ratio to the variance of the pairs that were seen).

    Chosen.
    """
    degrees_of_freedom: float = 6.0
    """Those of the Student's t distribution of pairs that are one unit (degrees of freedom): fewer let more of them be
    outliers.

    Chosen.
    """
    same_mean: tuple[float, float] = (3.9, 5.5)
    """Scores of similarity and of shape of one unit before a pair is seen, their means (nats).

    Chosen.
    """
    same_sd: tuple[float, float] = (0.9, 0.7)
    """Their standard deviations (nats).

    Chosen.
    """
    same_gain_sd: float = 0.2
    """How far sizes of one unit change between epochs (nats: standard deviation of the logarithm of their ratio).

    Chosen.
    """
    same_pairs: float = 6.0
    """How many pairs that is worth (pairs); raise to trust it more.

    Chosen.
    """
    max_gain_sds: float = 2.5
    """Changes of size count no more than this where their spread is learned (standard deviations).

    Chosen.
    """
    different_mean: tuple[float, float, float] = (1.4, 4.0, 0.0)
    """Scores of similarity, shape and gain of different units before a pair is seen, their means (nats).

    Chosen.
    """
    different_sd: tuple[float, float, float] = (0.7, 1.0, 1.2)
    """Their standard deviations (nats).

    Chosen.
    """
    different_share: float = 0.1
    """Share of different units that are more similar than `min_similarity`, before a pair is seen (fraction).

    Chosen.
    """
    different_pairs: int = 20
    """How many pairs that is worth (pairs); raise to trust it more.

    Chosen.
    """
