// Each rank of MPI loads its slice of one checkpoint of bfloat16, as tensor parallelism cuts a Llama; rank 0 joins the
// slices again and compares them with the file.
#include <ckpt/host.hpp>
#include <ckpt/state/shard.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mpi.h>

/// Ends all ranks: one that failed would leave the others waiting.
template <class T> static T must(ckpt::result<T> got) {
    if (got) {
        if constexpr (std::is_void_v<T>) return;
        else return *std::move(got);
    }
    std::fprintf(stderr, "%s\n", got.error().message().c_str());
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::abort();
}

/// Copies the part of one rank to its place: along `dimension` the whole is `world` parts.
static void paste(std::vector<ckpt::bf16>& whole, const ckpt::bf16* part, std::span<const std::int64_t> shape,
                  std::size_t dimension, std::size_t rank, std::size_t world) {
    std::size_t rows = 1, row = 1; // of the part
    for (std::size_t d = 0; d < shape.size(); ++d) (d < dimension ? rows : row) *= static_cast<std::size_t>(shape[d]);
    for (std::size_t r = 0; r < rows; ++r) std::copy_n(part + r * row, row, whole.data() + (r * world + rank) * row);
}

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    int rank = 0, world = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world);

    // All ranks open the file, which reads no weights. Layers that give features are cut by rows, with their biases;
    // layers that take them by columns, and their biases stay whole, as norms do.
    const auto file = must(ckpt::open(argv[1]));
    const auto weights = must(file.state_dict());
    const ckpt::shard_rule rules[]{{"**.{layer:q_proj|k_proj|v_proj|gate_proj|up_proj}.{leaf:weight|bias}", 0},
                                   {"**.embed_tokens.weight", 0},
                                   {"**.{layer:o_proj|down_proj}.weight", 1}};
    const auto mine =
        must(ckpt::shard(weights, rules, static_cast<std::uint32_t>(rank), static_cast<std::uint32_t>(world)));
    const auto loaded = must(ckpt::host::load(mine));

    std::uint64_t whole_bytes = 0;
    for (const auto& [key, tensor] : weights) whole_bytes += tensor.nbytes();
    const std::uint64_t bytes = loaded.report.bytes;
    std::vector<std::uint64_t> of_ranks(static_cast<std::size_t>(world));
    MPI_Gather(&bytes, 1, MPI_UINT64_T, of_ranks.data(), 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    if (rank == 0)
        for (int r = 0; r < world; ++r)
            std::printf("rank %d: %llu of %llu bytes, %.4f\n", r,
                        static_cast<unsigned long long>(of_ranks[static_cast<std::size_t>(r)]),
                        static_cast<unsigned long long>(whole_bytes),
                        double(of_ranks[static_cast<std::size_t>(r)]) / double(whole_bytes));

    int tensors = 0, cut = 0, different = 0;
    for (const auto& [key, part] : loaded.weights) {
        const auto whole = must(weights.at(key));
        std::vector<ckpt::bf16> values(part.numel()); // dense, whatever strides it has
        must(part.copy_to(std::span(values)));
        const auto count = static_cast<int>(values.size());
        std::vector<ckpt::bf16> parts(rank == 0 ? values.size() * of_ranks.size() : 0);
        MPI_Gather(values.data(), count, MPI_UINT16_T, parts.data(), count, MPI_UINT16_T, 0, MPI_COMM_WORLD);
        if (rank != 0) continue;

        std::size_t dimension = 0; // along which it was cut; behind the last one where it is whole
        while (dimension < part.shape().size() && part.shape()[dimension] == whole.shape()[dimension]) ++dimension;
        const bool is_cut = dimension < part.shape().size();
        std::vector<ckpt::bf16> joined(whole.numel()), expected(whole.numel());
        must(whole.copy_to(std::span(expected)));
        for (std::size_t r = 0; r < of_ranks.size(); ++r) {
            const ckpt::bf16* const from = parts.data() + r * values.size();
            if (is_cut) paste(joined, from, part.shape(), dimension, r, of_ranks.size());
            else if (std::memcmp(from, expected.data(), 2 * expected.size()) != 0) ++different;
        }
        if (is_cut && std::memcmp(joined.data(), expected.data(), 2 * expected.size()) != 0) ++different;
        ++tensors;
        cut += is_cut;
    }
    if (rank == 0) std::printf("%d tensors, %d of them cut, %d differ from the file\n", tensors, cut, different);
    MPI_Finalize();
    return different == 0 && (rank != 0 || tensors == static_cast<int>(weights.size())) ? 0 : 1;
}
