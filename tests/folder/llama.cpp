// tests/folder/llama.cpp: the parts of a LLaMA model: how they are joined, how many there are, and what can be wrong.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/folder/llama.hpp>

#include "../support/folder_findings.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llama_test {

using ckpt::errc;
using ckpt::detail::llama_cut;
using ckpt::detail::llama_cut_of;
using namespace test_support;

namespace {

using floats = std::vector<float>;
using numbers = std::vector<std::int64_t>;

struct one_tensor {
    std::string key{};
    numbers shape{};
    floats values{};
};
using tensors = std::vector<one_tensor>;

one_tensor* find(tensors& in, std::string_view key) {
    for (one_tensor& t : in)
        if (t.key == key) return &t;
    return nullptr;
}

/// A tensor that counts up from `first`; no two tensors of a model have a value in common.
one_tensor counted(std::string key, numbers shape, float first) {
    one_tensor out{std::move(key), std::move(shape), {}};
    std::int64_t numel = 1;
    for (const std::int64_t n : out.shape) numel *= n;
    for (std::int64_t i = 0; i < numel; ++i) out.values.push_back(first + static_cast<float>(i));
    return out;
}

/// A model of one layer: dim 4, six tokens.
tensors whole_model() {
    tensors out;
    float first = 0;
    for (const auto& [key, shape] : std::vector<std::pair<std::string, numbers>>{
             {"tok_embeddings.weight", {6, 4}},
             {"norm.weight", {4}},
             {"output.weight", {6, 4}},
             {"layers.0.attention.wq.weight", {4, 4}},
             {"layers.0.attention.wk.weight", {2, 4}},
             {"layers.0.attention.wv.weight", {2, 4}},
             {"layers.0.attention.wo.weight", {4, 4}},
             {"layers.0.feed_forward.w1.weight", {8, 4}},
             {"layers.0.feed_forward.w2.weight", {4, 8}},
             {"layers.0.feed_forward.w3.weight", {8, 4}},
             {"layers.0.attention_norm.weight", {4}},
             {"layers.0.ffn_norm.weight", {4}},
             {"layers.0.attention.inner_attention.rope.freqs", {2}},
             {"rope.freqs", {2}},
         }) {
        out.push_back(counted(key, shape, first));
        first += 100;
    }
    return out;
}

/// The same with sizes that four ranks share evenly.
tensors model_for_four() {
    tensors out = whole_model();
    for (const char* const key : {"layers.0.attention.wk.weight", "layers.0.attention.wv.weight"})
        *find(out, key) = counted(key, {4, 4}, 5000);
    *find(out, "output.weight") = counted("output.weight", {8, 4}, 6000);
    return out;
}

/// What rank `rank` of `ranks` has. `embedding` is the dimension along which the embedding is cut.
tensors part_of(const tensors& model, std::int64_t rank, std::int64_t ranks, std::int64_t embedding) {
    tensors out;
    for (const one_tensor& t : model) {
        const llama_cut how = llama_cut_of(t.key);
        const std::int64_t along = how == llama_cut::rows        ? 0
                                   : how == llama_cut::columns   ? 1
                                   : how == llama_cut::embedding ? embedding
                                                                 : -1;
        one_tensor own = t;
        if (along >= 0) {
            own.values.clear();
            own.shape[static_cast<std::size_t>(along)] /= ranks;
            const std::int64_t row = along == 0 ? rank * own.shape[0] : 0;
            const std::int64_t column = along == 1 ? rank * own.shape[1] : 0;
            for (std::int64_t i = 0; i < own.shape[0]; ++i)
                for (std::int64_t k = 0; k < own.shape[1]; ++k)
                    own.values.push_back(t.values[static_cast<std::size_t>((row + i) * t.shape[1] + column + k)]);
        }
        out.push_back(own);
    }
    return out;
}

std::string file_of(const tensors& of, const std::string& more = {}) {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (const one_tensor& t : of) {
        const std::string key = std::to_string(storages.size());
        numbers strides(t.shape.size());
        std::int64_t stride = 1;
        for (std::size_t d = t.shape.size(); d-- > 0; stride *= t.shape[d]) strides[d] = stride;
        entries.emplace_back(pkl::str(t.key),
                             pkl::tensor(pkl::storage("FloatStorage", key, static_cast<std::int64_t>(t.values.size())),
                                         0, t.shape, strides));
        storages.emplace_back(key, raw(t.values));
    }
    if (!more.empty()) entries.emplace_back(pkl::str("step"), more);
    return torch_file(pkl::dict(entries), storages);
}

std::string name_of(std::int64_t rank) { return "consolidated.0" + std::to_string(rank) + ".pth"; }

using files = std::vector<std::pair<std::string, std::string>>;
files parts_of(const tensors& model, std::int64_t ranks, std::int64_t embedding) {
    files out;
    for (std::int64_t r = 0; r < ranks; ++r)
        out.emplace_back(name_of(r), file_of(part_of(model, r, ranks, embedding), pkl::num(7)));
    return out;
}
/// Two parts, the second one changed.
std::string findings_of(const std::function<void(tensors&)>& change) {
    files all = parts_of(whole_model(), 2, 0);
    tensors second = part_of(whole_model(), 1, 2, 0);
    change(second);
    all[1].second = file_of(second);
    return findings(temporary_folder(all));
}

void check_is_whole(const ckpt::checkpoint& file, const tensors& model) {
    const auto weights = file.state_dict().value();
    REQUIRE(weights.size() == model.size());
    std::size_t i = 0;
    for (const auto& [key, tensor] : weights) {
        const one_tensor& expected = model[i++];
        CHECK(key == expected.key); // in the first part's order
        CHECK(numbers(tensor.shape().begin(), tensor.shape().end()) == expected.shape);
        floats values(tensor.numel());
        REQUIRE(tensor.copy_to(std::span(values)).has_value());
        CHECK(values == expected.values);
    }
}

} // namespace

TEST_CASE("keys are cut as their layers are") {
    CHECK(llama_cut_of("layers.79.attention.wo.weight") == llama_cut::columns);
    CHECK(llama_cut_of("layers.0.feed_forward.w3.weight") == llama_cut::rows);
    CHECK(llama_cut_of("tok_embeddings.weight") == llama_cut::embedding);
    CHECK(llama_cut_of("rope.freqs") == llama_cut::copies);
    for (const char* const key : {"", "layers.", "layers.x.attention.wo.weight", "layers.0.attention.wo.weight.more",
                                  "layers.0.attention.wo.bias", "layers.99999999999.attention.wo.weight",
                                  "layers.0.norm.weight", "attention.wo.weight", "model.norm.weight"}) {
        CAPTURE(key);
        CHECK(llama_cut_of(key) == llama_cut::unknown);
    }
}

TEST_CASE("parts become the model: either embedding, two and four ranks, mapped, read and owned") {
    const tensors model = whole_model();
    for (const std::int64_t embedding : {0, 1})
        for (const std::int64_t ranks : {1, 2}) {
            const temporary_folder folder(parts_of(model, ranks, embedding));
            folder.add("params.json",
                       R"({"dim": 4, "n_heads": 2, "vocab_size": -1, "norm_eps": 1e-05, "n_layers": 1})");
            folder.add("tokenizer.model", "x");
            for (const ckpt::open_options& options :
                 {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                  ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
                CAPTURE(embedding);
                CAPTURE(ranks);
                const auto file = ckpt::open_folder(folder.path(), options);
                REQUIRE_MESSAGE(file.has_value(), file.error().message());
                CHECK(file->container() == (ranks == 1 ? "zip" : "parts"));
                CHECK(file->files().size() == static_cast<std::size_t>(ranks));
                check_is_whole(*file, model);
                CHECK(file->root().find("step").value().as_int().value() == 7); // of the first part
                CHECK(file->verify().ok());
            }
            const auto report = ckpt::inspect_folder(folder.path()).value();
            CHECK(report.chosen == (ranks == 1 ? "consolidated.00.pth" : "consolidated.*.pth"));
            CHECK(report.parts.size() >= static_cast<std::size_t>(ranks));
        }
    const tensors large = model_for_four();
    check_is_whole(ckpt::open_folder(temporary_folder(parts_of(large, 4, 1)).path()).value(), large);
}

TEST_CASE("missing parts are named: the sizes of the tensors say how many there are") {
    const auto told = [&](std::vector<std::int64_t> ranks) {
        files all = parts_of(model_for_four(), 4, 1);
        std::erase_if(all, [&](const auto& f) {
            for (const std::int64_t r : ranks)
                if (f.first == name_of(r)) return true;
            return false;
        });
        const temporary_folder folder(all);
        const ckpt::error e = ckpt::open_folder(folder.path()).error();
        CHECK(e.code == errc::parts_not_joined);
        CHECK(ckpt::info(e.code).exit_code == 4);
        return e.detail;
    };
    CHECK(told({1}) == "1 of 4 parts of the model is missing: \"consolidated.01.pth\"");
    CHECK(told({3}) == "1 of 4 parts of the model is missing: \"consolidated.03.pth\"");
    CHECK(told({1, 3}) == "2 of 4 parts of the model are missing: \"consolidated.01.pth\", \"consolidated.03.pth\"");
    CHECK(told({1, 2, 3}).starts_with("3 of 4 parts of the model are missing: ")); // never opened as one
    CHECK(told({0, 1, 2}).find("\"consolidated.00.pth\"") != std::string::npos);
    // Any number that a name or a file claims is told in a line.
    const temporary_folder far;
    far.add("consolidated.4000000000.pth", file_of({counted("w", {2}, 0)}));
    CHECK(findings(far) ==
          "consolidated.4000000000.pth: 4000000000 of 4000000001 parts of the model are missing: "
          "\"consolidated.00.pth\", \"consolidated.01.pth\", \"consolidated.02.pth\", +3999999997 more\n");
    // What is none of LLaMA's has one part where nothing says otherwise.
    const temporary_folder other;
    other.add("consolidated.00.pth", file_of({counted("w", {2}, 0)}));
    CHECK(ckpt::open_folder(other.path()).value().state_dict().value().size() == 1);
}

TEST_CASE("params.json tells heads that are not as wide as the model, and another model") {
    tensors model = whole_model(); // heads of two together, where dim is 4
    *find(model, "layers.0.attention.wq.weight") = counted("layers.0.attention.wq.weight", {2, 4}, 0);
    *find(model, "layers.0.attention.wo.weight") = counted("layers.0.attention.wo.weight", {4, 2}, 0);
    const temporary_folder folder(files{{name_of(0), file_of(model)}});
    CHECK(findings(folder).find("1 of 2 parts of the model is missing") != std::string::npos);
    folder.add("params.json", R"({"dim": 4, "n_heads": 2, "head_dim": 1})");
    CHECK(findings(folder).empty());
    folder.add("params.json", R"({"dim": 8})");
    CHECK(findings(folder).find("norm.weight has 4 elements, dim of params.json is 8") != std::string::npos);
    folder.add("params.json", R"({"dim": 4, "n_heads": 18446744073709551615, "head_dim": 3})");
    CHECK(findings(folder).find("1 of 2 parts") != std::string::npos);
    folder.add("params.json", "{");
    CHECK(findings(folder).find("1 of 2 parts") != std::string::npos);
    // One of more than 64 KiB is no params.json.
    const std::string params = R"({"dim": 4, "n_heads": 2, "head_dim": 1})";
    folder.add("params.json", params + std::string(65'536 - params.size(), ' '));
    CHECK(findings(folder).empty());
    folder.add("params.json", params + std::string(65'537 - params.size(), ' '));
    CHECK(findings(folder).find("1 of 2 parts") != std::string::npos);
}

TEST_CASE("copies that differ, keys and shapes of other models, parts twice or beyond the last") {
    CHECK(findings_of([](tensors& t) { find(t, "layers.0.ffn_norm.weight")->values[2] = -1; }) ==
          name_of(1) + ": \"layers.0.ffn_norm.weight\" is whole in each part, and differs from that in \"" +
              name_of(0) + "\"\n");
    CHECK(findings_of([](tensors& t) { t.erase(t.begin()); }) ==
          name_of(1) + ": it lacks 1 tensor that \"" + name_of(0) + "\" has: \"tok_embeddings.weight\"\n");
    CHECK(findings_of([](tensors& t) { t.push_back(counted("layers.1.ffn_norm.weight", {4}, 0)); }) ==
          name_of(0) + ": it lacks 1 tensor that \"" + name_of(1) + "\" has: \"layers.1.ffn_norm.weight\"\n");
    CHECK(findings_of([](tensors& t) { *find(t, "output.weight") = counted("output.weight", {2, 4}, 0); }) ==
          name_of(1) + ": \"output.weight\" is float32 [2, 4], and in \"" + name_of(0) + "\" float32 [3, 4]\n");
    files all = parts_of(whole_model(), 2, 0);
    all.emplace_back("consolidated.2.pth", all[1].second);
    CHECK(findings(temporary_folder(all)) ==
          "consolidated.2.pth: a part of number 2 where the sizes of wo and norm say 2 parts\n");
    all.back().first = "consolidated.1.pth";
    CHECK(findings(temporary_folder(all)).find("the number of \"consolidated.") != std::string::npos);
    // Both parts agree, and are no parts of such a model.
    tensors odd = whole_model();
    *find(odd, "layers.0.feed_forward.w1.weight") = counted("layers.0.feed_forward.w1.weight", {8, 5}, 0);
    CHECK(findings(temporary_folder(parts_of(odd, 2, 0))) ==
          name_of(0) + ": \"layers.0.feed_forward.w1.weight\" is [4, 5], which is no part of 2 where norm.weight has 4 "
                       "elements\n");
    odd = whole_model();
    *find(odd, "tok_embeddings.weight") = counted("tok_embeddings.weight", {6, 3}, 0);
    CHECK(findings(temporary_folder(parts_of(odd, 2, 0))).find("\"tok_embeddings.weight\" is [3, 3]") !=
          std::string::npos);
}

TEST_CASE("with partial a copy that differs costs only its key") {
    files all = parts_of(whole_model(), 2, 0);
    tensors second = part_of(whole_model(), 1, 2, 0);
    find(second, "norm.weight")->values[0] = -1;
    all[1].second = file_of(second);
    const temporary_folder folder(all);
    const auto weights = ckpt::open_folder(folder.path(), {}, {.partial = true}).value().state_dict().value();
    CHECK(weights.at("norm.weight").error().code == errc::shards_inconsistent);
    CHECK(weights.at("output.weight").has_value());
}

TEST_CASE("tensors of an unknown layout are refused as parts, by their names") {
    tensors model = whole_model();
    model.push_back(counted("layers.0.attention.wq.bias", {4}, 0));
    model.push_back(counted("vision.proj", {4, 4}, 0));
    const ckpt::error e = ckpt::open_folder(temporary_folder(parts_of(model, 2, 0)).path()).error();
    CHECK(e.code == errc::parts_not_joined);
    CHECK(e.detail ==
          "2 parts of one model, in which 2 values are no tensors of LLaMA's, and nothing says how they are cut: "
          "\"layers.0.attention.wq.bias\", \"vision.proj\"");
    CHECK(e.hint.find("open one part by its own path") != std::string_view::npos);
    // Tensors further down are no less parts, and a part without any is none.
    const std::string nested = torch_file(
        pkl::dict({{pkl::str("model"), pkl::dict({{pkl::str("w"), pkl::floats("0", 1)}})}}), {{"0", raw<float>({5})}});
    CHECK(findings(temporary_folder(files{{name_of(0), nested}, {name_of(1), nested}}))
              .find("1 value is no tensor of LLaMA's") != std::string::npos);
    const std::string list = torch_file(pkl::list({pkl::floats("0", 1)}), {{"0", raw<float>({5})}});
    CHECK(findings(temporary_folder(files{{name_of(0), list}, {name_of(1), list}})).find("no dictionary of tensors") !=
          std::string::npos);
    const std::string none = torch_file(pkl::num(1));
    CHECK(findings(temporary_folder(files{{name_of(0), none}, {name_of(1), none}})) ==
          name_of(0) + ": the part holds no dictionary of tensors\n" + name_of(1) +
              ": the part holds no dictionary of tensors\n");
}

TEST_CASE("parts that share no key are a set of shards") {
    const temporary_folder folder(files{{"consolidated.00.pt", file_of({counted("a", {2}, 1)}, pkl::num(7))},
                                        {"consolidated.01.pt", file_of({counted("b", {2, 2}, 5)})}});
    check_is_whole(ckpt::open_folder(folder.path()).value(), {counted("a", {2}, 1), counted("b", {2, 2}, 5)});
    // Layers that are whole say nothing of the number of such parts.
    const tensors model = whole_model();
    files layers{{name_of(0), file_of(model)}, {name_of(2), file_of({counted("layers.1.ffn_norm.weight", {4}, 0)})}};
    CHECK(findings(temporary_folder(layers)).find("missing: \"consolidated.01.pth\"") != std::string::npos);
    layers[1].first = name_of(1);
    const auto weights = ckpt::open_folder(temporary_folder(layers).path()).value().state_dict().value();
    CHECK(weights.size() == model.size() + 1);
}

TEST_CASE("a tensor that a part could not build, or that is no plain array, costs only its key") {
    files all = parts_of(whole_model(), 2, 0);
    std::vector<std::pair<std::string, std::string>> entries, storages;
    const tensors second = part_of(whole_model(), 1, 2, 0);
    for (const one_tensor& t : second) {
        const std::string key = std::to_string(storages.size());
        const auto numel = static_cast<std::int64_t>(t.values.size());
        const std::int64_t beyond = t.key == "output.weight" ? 1000 : 0;
        entries.emplace_back(pkl::str(t.key), pkl::tensor(pkl::storage("FloatStorage", key, numel), beyond, t.shape,
                                                          t.shape.size() == 1 ? numbers{1} : numbers{t.shape[1], 1}));
        storages.emplace_back(key, raw(t.values));
    }
    all[1].second = torch_file(pkl::dict(entries), storages);
    const auto weights = ckpt::open_folder(temporary_folder(all).path()).value().state_dict().value();
    CHECK(weights.at("output.weight").error().code == errc::out_of_bounds);
    CHECK(weights.at("output.weight").error().file == name_of(1));
    CHECK(weights.at("norm.weight").has_value());
}

TEST_CASE("an expanded tensor of any size in a part is refused, not compared or joined for ever") {
    const auto with = [](const char* key, std::int64_t rows) {
        files all;
        for (std::int64_t r = 0; r < 2; ++r) {
            std::vector<std::pair<std::string, std::string>> entries, storages{{"e", raw<float>({1})}};
            for (const one_tensor& t : part_of(whole_model(), r, 2, 0)) {
                const std::string name = std::to_string(storages.size());
                const auto numel = static_cast<std::int64_t>(t.values.size());
                std::string tensor = pkl::tensor(pkl::storage("FloatStorage", name, numel), 0, t.shape,
                                                 t.shape.size() == 1 ? numbers{1} : numbers{t.shape[1], 1});
                if (t.key == key)
                    tensor = pkl::tensor(pkl::storage("FloatStorage", "e", 1), 0,
                                         t.shape.size() == 1 ? numbers{rows} : numbers{rows, 4},
                                         t.shape.size() == 1 ? numbers{0} : numbers{0, 0});
                entries.emplace_back(pkl::str(t.key), tensor);
                storages.emplace_back(name, raw(t.values));
            }
            all.emplace_back(name_of(r), torch_file(pkl::dict(entries), storages));
        }
        return ckpt::open_folder(temporary_folder(all).path());
    };
    const auto compared = with("rope.freqs", std::int64_t{1} << 40);
    REQUIRE_FALSE(compared.has_value());
    CHECK(compared.error().code == errc::output_limit);
    const auto huge = with("output.weight", std::int64_t{1} << 56); // 2^64 bits together
    REQUIRE_FALSE(huge.has_value());
    CHECK(huge.error().detail.find("which is no part of 2") != std::string::npos);
    const auto large = with("output.weight", std::int64_t{1} << 55);
    REQUIRE(large.has_value());
    const auto weights = large->state_dict().value();
    CHECK(weights.at("output.weight").error().code == errc::output_limit);
    CHECK(weights.at("output.weight").error().file == name_of(0));
}

} // namespace llama_test
