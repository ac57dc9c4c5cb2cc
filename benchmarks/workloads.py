"""The workloads by name and group."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import indexing
from benchmarks.data import Blobs, Mapped, Patches, Photo, Source, Table, Text, Tiled, Uniform
from benchmarks.indexing import BIRCH, FASHION, MINILM
from benchmarks.workload import Goal, Workload

EVERYONE = ("sklearn", "sklearnex", "faiss", "cv2", "superkmeans", "scipy")
LLOYD = ("sklearn", "sklearnex", "faiss")
ENGINES = ("ckmeans-dense", "ckmeans-cells", "ckmeans-screen")
PHOTOS = (
    "photos/china.jpg",
    "photos/flower.jpg",
    "photos/kodim05.png",
    "photos/kodim23.png",
    "photos/ashim_dsilva_6mp.jpg",
    "photos/nasa_89127_13mp.jpg",
)
LARGE_PHOTO = "photos/ashim_dsilva_6mp.jpg"
TFIDF = "text/debian_word_tfidf.npz"


def select(names: list[str]) -> list[Workload]:
    """Return the workloads with these names, groups or name prefixes; the default ones without names."""
    if not names:
        return [workload for workload in WORKLOADS if workload.by_default]
    for name in names:
        if not any(_is_called(workload, name) for workload in WORKLOADS):
            raise ValueError(f"no workload is called {name!r}; --list shows them all")
    return [w for w in WORKLOADS if any(_is_called(w, name) for name in names)]


def _is_called(workload: Workload, name: str) -> bool:
    return name in (workload.group, workload.name) or workload.name.startswith(name + "-")


def _both(m: int, n: int, components: int, dtype: str = "float32") -> Iterator[tuple[str, Source]]:
    """Yield the two kinds of generated data, each with its name."""
    yield "blobs", Blobs(m, n, components, dtype)
    yield "uniform", Uniform(m, n, dtype)


def _short(m: int) -> str:
    """Abbreviate: 100000 → 100k, 1000000 → 1M."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if m >= size:
            return f"{m / size:g}{letter}"
    return str(m)


def _steps() -> Iterator[Workload]:
    shapes = [
        (100_000, 384, 1000, "float32"),
        (60_000, 784, 100, "float32"),
        (50_000, 384, 1000, "float64"),
        (30_000, 784, 100, "float64"),
    ]
    for m, n, K, dtype in shapes:
        ending = "-f64" if dtype == "float64" else ""
        for kind, data in _both(m, n, K, dtype):
            yield Workload(
                name=f"step-{_short(m)}-{n}-{K}{ending}-{kind}",
                group="steps",
                kind="step",
                data=data,
                K=K,
                peers=("numpy",),
                algorithm="dense",
                goals=(Goal(1.2, ("numpy",)),),
            )


def _fits() -> Iterator[Workload]:
    shapes = [  # m, n, K, iterations, algorithm, bound on blobs, bound on uniform data, against
        (1_000_000, 3, 256, 10, "dense", 1.8, 1.8, LLOYD),
        (500_000, 16, 256, 10, "dense", 1.6, 1.6, LLOYD),
        (1_000_000, 3, 16, 10, "dense", 3.0, 3.0, LLOYD),
        (1_000_000, 3, 1000, 20, "auto", 15.0, 8.0, (*LLOYD, "cv2")),
    ]
    for m, n, K, iterations, algorithm, on_blobs, on_uniform, against in shapes:
        for kind, data in _both(m, n, K):
            yield Workload(
                name=f"fit-{_short(m)}-{n}-{K}-{kind}",
                group="fits",
                kind="fit",
                data=data,
                K=K,
                peers=EVERYONE,
                iterations=iterations,
                algorithm=algorithm,
                goals=(Goal(on_blobs if kind == "blobs" else on_uniform, against),),
            )


def _small() -> Iterator[Workload]:
    for kind, data in _both(300, 2, 3):
        yield Workload(
            name=f"restarts-300-2-3-{kind}",
            group="restarts",
            kind="random",
            data=data,
            K=3,
            peers=("cv2", "sklearn"),
            iterations=100,  # OpenCV's limit
            starts=1000,
            goals=(Goal(4.0, ("cv2",)),),
        )
    for kind, data in _both(64, 16, 16):
        yield Workload(
            name=f"tiny-assign-{kind}",
            group="tiny",
            kind="assign",
            data=data,
            K=16,
            peers=("numpy",),
            goals=(Goal(2.0, ("numpy",)),),
        )
    yield Workload(
        name="iris-fit",
        group="tiny",
        kind="fit",
        data=Table("tabular/iris.npz"),
        K=3,
        peers=("sklearn", "sklearnex", "cv2"),
        goals=(Goal(20.0, ("sklearn",)),),
    )
    yield Workload(
        name="import-time",
        group="tiny",
        kind="import",
        data=Uniform(1, 1),
        K=1,
        peers=("numpy",),
        goals=(Goal(0.15, ("numpy",)),),
    )


def _memory() -> Iterator[Workload]:
    floats, byte = (5_000_000, 100, 100, "float32"), (10_700_000, 100, 100, "uint8")
    sources = [(f"5M-100-100-{kind}", data) for kind, data in _both(*floats)]
    sources += [(f"10.7M-100-100-uint8-{kind}", data) for kind, data in _both(*byte)]
    sources += [("5M-100-100-memmap", Mapped(Uniform(5_000_000, 100)))]
    for ending, data in sources:
        yield Workload(
            name=f"memory-{ending}",
            group="memory",
            kind="fit",
            data=data,
            K=100,
            peers=("sklearn", "faiss"),
            iterations=3,
            memory_goal=0.2,
            measures_memory_only=True,
        )


def _pictures() -> Iterator[Workload]:
    rivals = (*LLOYD, "cv2")
    for K in (16, 256):
        yield Workload(
            name=f"photo-6MP-{K}",
            group="photo",
            kind="fit",
            data=Photo(LARGE_PHOTO),
            K=K,
            peers=rivals,
            iterations=30,
            goals=(Goal(8.0, rivals),),
        )
    yield Workload(
        name="photo-6MP-64-restarts",
        group="photo",
        kind="refits",
        data=Photo(LARGE_PHOTO),
        K=64,
        peers=rivals,
        iterations=50,
        starts=10,
        goals=(Goal(12.0, rivals),),
    )
    yield Workload(
        name="birch1",
        group="birch1",
        kind="fit",
        data=Table(BIRCH),
        K=100,
        peers=rivals,
        iterations=30,
        goals=(Goal(8.0, rivals),),
    )


def _high_dimensions() -> Iterator[Workload]:
    sources: list[tuple[str, str, Source, tuple[int, ...], float, float]] = [
        ("embeddings", "50k-384", Tiled(50_000, MINILM), (500,), 2.0, 1.3),
        ("patches", "50k-192", Patches(50_000, 8, PHOTOS), (256, 1000), 3.0, 1.5),
        ("fashion", "50k-784", Tiled(50_000, FASHION), (256, 1000), 3.0, 1.5),
    ]
    for group, shape, data, Ks, than_faiss, than_superkmeans in sources:
        for K in Ks:
            yield Workload(
                name=f"{group}-{shape}-{K}",
                group=group,
                kind="fit",
                data=data,
                K=K,
                peers=(*LLOYD, "superkmeans"),
                iterations=10,
                goals=(Goal(than_faiss, ("faiss",)), Goal(than_superkmeans, ("superkmeans",))),
            )


def _seeding() -> Iterator[Workload]:
    for m, n, K, bound in [(100_000, 32, 500, 10.0), (1_000_000, 3, 256, 15.0)]:
        for kind, data in _both(m, n, K):
            yield Workload(
                name=f"seeding-{_short(m)}-{n}-{K}-{kind}",
                group="seeding",
                kind="seed",
                data=data,
                K=K,
                peers=("sklearn",),
                goals=(Goal(bound, ("sklearn",)),),
                J_goal=1.015,
            )


def _scaling() -> Iterator[Workload]:
    sizes = (100_000, 300_000, 1_000_000, 3_000_000)
    sources: list[Source] = [
        Uniform(sizes[-1], 2),
        Blobs(sizes[-1], 3, 256),
        Blobs(sizes[-1], 16, 32),
        Blobs(sizes[-1], 128, 32),  # fewer blobs than K: otherwise it converges too early
    ]
    for data, n in zip(sources, (2, 3, 16, 128), strict=True):
        yield Workload(
            name=f"scaling-rows-{n}",
            group="scaling",
            kind="rows",
            data=data,
            K=64,
            peers=(),
            iterations=10,
            goals=(Goal(36.0, ("ckmeans",)),),
            sizes=sizes,
        )
    for n, components in ((2, 100), (3, 1000)):
        for kind, data in _both(1_000_000, n, components):
            yield Workload(
                name=f"scaling-clusters-{n}-{kind}",
                group="scaling",
                kind="clusters",
                data=data,
                K=4096,
                peers=(),
                goals=(Goal(0.8, ("ckmeans",)),),
                sizes=(16, 64, 256, 1024, 4096),
            )


def _whole_job() -> Iterator[Workload]:
    yield Workload(
        name="prepare-photo-6MP",
        group="prepare",
        kind="calls",
        data=Photo(LARGE_PHOTO),
        K=21,
        peers=("ckmeans-plain",),
        goals=(Goal(2.0, ("ckmeans-plain",)),),
        sizes=tuple(range(2, 22)),
    )
    yield Workload(
        name="elbow-birch1",
        group="elbow",
        kind="elbow",
        data=Table(BIRCH),
        K=20,
        peers=("ckmeans-plain",),
        starts=5,
        goals=(Goal(3.0, ("ckmeans-plain",)),),
        sizes=tuple(range(1, 21)),
    )
    for K in (20, 100):
        yield Workload(
            name=f"sparse-100k-{K}",
            group="sparse",
            kind="fit",
            data=Text(100_000, TFIDF),
            K=K,
            peers=("sklearn", "sparsekmeans", "sparsekmeans-elkan"),
            iterations=10,
            goals=(Goal(2.0, ("sklearn",)),),
        )
    yield Workload(
        name="memory-text-500MB",
        group="memory",
        kind="fit",
        data=Text(2_240_000, TFIDF),
        K=20,
        peers=("sklearn",),
        iterations=3,
        memory_goal=0.107,  # 20 % of X plus 6 K n values of 8 bytes
        measures_memory_only=True,
    )


def _grid() -> Iterator[Workload]:
    rivals = (*LLOYD, "cv2")
    for row, n in enumerate((1, 2, 3, 4, 8, 16, 32, 64, 128, 384, 784)):
        engines = ENGINES if n <= 8 else tuple(e for e in ENGINES if e != "ckmeans-cells")
        for column, K in enumerate((2, 8, 64, 256, 1000)):
            for size, m in enumerate((2_000, _many(n, K))):
                both = dict(_both(m, n, 32))
                kind = "blobs" if (row + column + size) % 2 else "uniform"  # alternating
                yield Workload(
                    name=f"grid-{_short(m)}-{n}-{K}-{kind}",
                    group="grid",
                    kind="fit",
                    data=both[kind],
                    K=K,
                    peers=(*engines, *rivals),
                    iterations=20,
                    goals=(Goal(1 / 1.1, engines), Goal(1.0, rivals)),
                    by_default=False,
                    economical=True,
                    J_distances=1 << 24,
                )


def _many(n: int, K: int) -> int:
    """Return rows for about 7e8 multiplications per iteration: 10,000 to a million, at most 8M values."""
    rows = min(7e8 / ((n + 4) * K), 1e6, 8e6 / n)
    return max(10_000, round(rows / 10_000) * 10_000)


WORKLOADS: list[Workload] = [
    *_steps(),
    *_fits(),
    *_small(),
    *_memory(),
    *_pictures(),
    *_high_dimensions(),
    *_seeding(),
    *_scaling(),
    *_whole_job(),
    *_grid(),
    *indexing.calls(),
    *indexing.index(),
]
