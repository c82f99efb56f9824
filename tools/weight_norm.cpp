// Weights of weight normalisation.
#include "weight_norm.hpp"

#include "render.hpp"

#include <string>
#include <vector>

namespace tool {

ckpt::result<ckpt::weight_norm_folded> fold_weights(const options& wanted, const ckpt::state_dict& weights) {
    std::uint64_t total = 0;
    for (const auto entry : weights) total += bytes_to_read(entry.tensor);
    progress_line line{wanted, total};
    return ckpt::fold_weight_norm(weights, {.progress = line});
}

void print_folded(const ckpt::weight_norm_folded& done, bool is_allowed) {
    std::vector<std::string> lines;
    for (const auto& f : done.folded)
        lines.push_back(printable(f.key) + " of " + printable(f.g) + " and " + printable(f.v));
    print_some("folded", colour::dim, lines);
    lines.clear();
    for (const auto& l : done.left) lines.push_back(printable(l.key) + ": " + printable(l.why.detail));
    print_some("unfolded", is_allowed ? colour::dim : colour::yellow, lines);
}

void write_folded(json& to, const ckpt::weight_norm_folded& done) {
    to.key("folded").begin_array();
    for (const auto& f : done.folded)
        to.line().begin_object().member("key", f.key).member("g", f.g).member("v", f.v).end_object();
    to.end_array().key("not_folded").begin_array();
    for (const auto& l : done.left) {
        to.line().begin_object().member("key", l.key).key("why");
        write(to, l.why);
        to.end_object();
    }
    to.end_array();
}

} // namespace tool
