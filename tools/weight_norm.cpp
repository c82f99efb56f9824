// Weights of weight normalisation.
#include "weight_norm.hpp"

#include "render.hpp"

namespace tool {

ckpt::result<ckpt::weight_norm_folded> fold_weights(const options& wanted, const ckpt::state_dict& weights) {
    progress_line line{wanted};
    return ckpt::fold_weight_norm(weights, {.progress = line});
}

void print_folded(const ckpt::weight_norm_folded& done, bool is_allowed) {
    print_each("folded", colour::dim, done.folded,
               [](const auto& f) { return printable(f.key) + " of " + printable(f.g) + " and " + printable(f.v); });
    print_each("unfolded", is_allowed ? colour::dim : colour::yellow, done.left,
               [](const auto& l) { return printable(l.key) + ": " + printable(l.why.detail); });
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
