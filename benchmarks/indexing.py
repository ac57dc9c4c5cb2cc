"""Workloads of users: whole default calls, and clusters in the thousands as builders of indexes need."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.data import Blobs, NonNegative, Source, Spectrum, Table, Tiled
from benchmarks.workload import Goal, Workload

MINILM = "embeddings/debian_minilm_384_f16.npy"
FASHION = "images_highdim/fashion_sample4000.npz"
BIRCH = "sipu/birch1.npz"
PENDIGITS = "tabular/pendigits.npz"
GIB = 2**30

SCIKIT = ("sklearn", "sklearnex")
OWN = ("ckmeans-greedy", "ckmeans-seeding")  # greedy first: J is compared with its J
BOTH_SUPER = ("superkmeans", "faiss-super")


def calls() -> Iterator[Workload]:
    """Yield the group of default calls, start to end, each with its limit of seconds."""
    many, few = (*OWN, "faiss", *SCIKIT), (*OWN, "faiss", *SCIKIT, "cv2")
    sources: list[tuple[str, Source, Source | None, int, tuple[str, ...], float]] = [
        ("fashion-60k-784", Tiled(60_000, FASHION), NonNegative(60_000, 784, 500), 256, many, 75),
        ("embeddings-50k-384", *_embeddings(50_000, 0.1), 500, many, 75),
        ("embeddings-100k-384", *_embeddings(100_000, 0.1), 2000, (*OWN, "faiss", "sklearn"), 120),
        ("histograms-200k-128", NonNegative(200_000, 128, 1000), None, 2048, (*OWN, "faiss"), 60),
        ("spectrum-50k-768", Spectrum(50_000, 768, 500, 0.35), None, 1024, (*OWN, "faiss"), 60),
        ("birch1-100k-2", Table(BIRCH), Blobs(100_000, 2, 100, "float64"), 100, few, 15),
        ("pendigits-11k-16", Table(PENDIGITS), Blobs(10_992, 16, 26), 26, few, 10),
        ("values-1M-1", Spectrum(1_000_000, 1, 50, 0.0), None, 16, ("flash1dkmeans", *few), 15),
    ]
    for shape, data, stand_in, K, peers, seconds in sources:
        few_features = "cv2" in peers
        yield Workload(
            name=f"calls-{shape}-{K}",
            group="calls",
            kind="default",
            data=data,
            K=K,
            peers=peers,
            goals=(Goal(5.0 if few_features else 3.0, ("faiss",)),)
            + ((Goal(8.0, ("sklearn",)),) if "sklearn" in peers and not few_features else ()),
            J_goal=1.003,
            J_against="ckmeans-greedy",
            time_limit=seconds,
            patience=60.0,
            J_distances=1 << 27,
            stand_in=stand_in,
        )


def index() -> Iterator[Workload]:
    """Yield the groups of fits from a given start: 5 iterations (index), and 25 (index25)."""
    sources: list[tuple[str, Source, Source | None, int]] = [
        *(
            (f"embeddings-100k-384-noise{noise}", *_embeddings(100_000, noise), K)
            for noise in (0.1, 0.3)
            for K in (2000, 4096)
        ),
        ("fashion-60k-784", Tiled(60_000, FASHION), NonNegative(60_000, 784, 500), 4096),
        ("spectrum-60k-1024", Spectrum(60_000, 1024, 500, 0.35), None, 2048),
        ("histograms-300k-128", NonNegative(300_000, 128, 1000), None, 2048),
    ]
    for iterations, group in ((5, "index"), (25, "index25")):
        peers: tuple[str, ...] = ("faiss",)
        goals: tuple[Goal, ...] = (Goal(6.0, ("faiss",)),)
        if group == "index":
            peers += ("ckmeans-avx2", *BOTH_SUPER)
            goals = (Goal(4.0, ("faiss",)), Goal(1.8, BOTH_SUPER), Goal(2.8, ("faiss",), of="ckmeans-avx2"))
        for shape, data, stand_in, K in sources:
            yield Workload(
                name=f"{group}-{shape}-{K}",
                group=group,
                kind="fit",
                data=data,
                K=K,
                peers=peers,
                iterations=iterations,
                goals=goals,
                by_default=False,
                time_limit=45.0,
                patience=8.0 * iterations,
                J_distances=1 << 26,
                stand_in=stand_in,
            )
    yield from _thousands()


def _thousands() -> Iterator[Workload]:
    """Yield the workloads of 16,384 clusters: the time of a distance, and the memory."""
    data, K = NonNegative(200_000, 128, 1000), 16_384
    yield Workload(
        name="index-200k-128-16384-distances",
        group="index",
        kind="distances",
        data=data,
        K=K,
        peers=(),
        goals=(Goal(1.2, ("ckmeans",)),),
        sizes=(2048, K),
        by_default=False,
        time_limit=40.0,
    )
    yield Workload(
        name="index-200k-128-16384-memory",
        group="index",
        kind="fit",
        data=data,
        K=K,
        peers=(),
        iterations=3,
        memory_goal=(0.6 * 4 * data.m * data.n + 24 * K * data.n) / GIB,
        measures_memory_only=True,
        by_default=False,
        J_distances=1 << 26,
    )


def _embeddings(m: int, noise: float) -> tuple[Source, Source]:
    """Return sentence embeddings, repeated with noise, and what stands in for them."""
    return Tiled(m, MINILM, noise), Spectrum(m, 384, 2000, 0.35)
