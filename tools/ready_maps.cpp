// The maps of <ckpt/maps.hpp> by their names, for --map. averages_to_raw is not among them: it is made of the keys.
#include "common.hpp"
#include "render.hpp"

#include <ckpt/maps.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace tool {

namespace {

namespace maps = ckpt::maps;

/// A number that a map takes.
struct setting {
    std::string_view name{};
    std::int64_t otherwise{-1}; // where it is not given; -1: it must be
};
using settings = std::array<setting, 4>; // the rest has no name
using numbers = std::array<std::int64_t, 4>;

struct ready {
    std::string_view name{};
    settings takes{};
    ckpt::result<ckpt::key_map> (*make)(const numbers&){};
};

template <ckpt::key_map (*Make)()> ckpt::result<ckpt::key_map> plain(const numbers&) { return Make(); }
template <ckpt::result<ckpt::key_map> (*Make)(std::int64_t)> ckpt::result<ckpt::key_map> sized(const numbers& n) {
    return Make(n[0]);
}
template <ckpt::result<ckpt::key_map> (*Make)(const maps::llama_heads&)>
ckpt::result<ckpt::key_map> headed(const numbers& n) {
    return Make({.heads = n[0], .kv_heads = n[1], .head_dim = n[2], .tied = n[3] != 0});
}

constexpr settings llama{{{"heads"}, {"kv_heads"}, {"head_dim"}, {"tied", 0}}};

constexpr ready all_maps[]{
    {"averaged_model_to_model", {}, plain<maps::averaged_model_to_model>},
    {"chinese_clip_from_flash", {}, plain<maps::chinese_clip_from_flash>},
    {"chinese_clip_from_hf", {}, plain<maps::chinese_clip_from_hf>},
    {"chinese_clip_to_flash", {}, plain<maps::chinese_clip_to_flash>},
    {"chinese_clip_to_hf", {}, plain<maps::chinese_clip_to_hf>},
    {"diffusers_unet_to_ldm", {{{"layers_per_block", 2}}}, sized<maps::diffusers_unet_to_ldm>},
    {"diffusers_vae_to_ldm", {{{"levels", 4}}}, sized<maps::diffusers_vae_to_ldm>},
    {"gguf_to_hf_llama", llama, headed<maps::gguf_to_hf_llama>},
    {"gpt2_hf_to_llm_c", {}, plain<maps::gpt2_hf_to_llm_c>},
    {"gpt2_llm_c_to_hf", {{{"vocabulary"}}}, sized<maps::gpt2_llm_c_to_hf>},
    {"hf_llama_to_gguf", llama, headed<maps::hf_llama_to_gguf>},
    {"hf_llama_to_meta", llama, headed<maps::hf_llama_to_meta>},
    {"ldm_text_encoder_to_transformers", {}, plain<maps::ldm_text_encoder_to_transformers>},
    {"ldm_unet_to_diffusers", {{{"num_res_blocks", 2}}}, sized<maps::ldm_unet_to_diffusers>},
    {"ldm_vae_to_diffusers", {{{"levels", 4}}}, sized<maps::ldm_vae_to_diffusers>},
    {"meta_llama_to_hf", llama, headed<maps::meta_llama_to_hf>},
    {"model_to_compiled", {}, plain<maps::model_to_compiled>},
    {"model_to_data_parallel", {}, plain<maps::model_to_data_parallel>},
    {"open_clip_from_custom_text", {}, plain<maps::open_clip_from_custom_text>},
    {"open_clip_from_hf", {}, plain<maps::open_clip_from_hf>},
    {"open_clip_to_custom_text", {}, plain<maps::open_clip_to_custom_text>},
    {"open_clip_to_hf", {}, plain<maps::open_clip_to_hf>},
    {"openai_clip_to_open_clip", {}, plain<maps::openai_clip_to_open_clip>},
    {"torchvision_densenet_from_earlier", {}, plain<maps::torchvision_densenet_from_earlier>},
    {"torchvision_densenet_to_earlier", {}, plain<maps::torchvision_densenet_to_earlier>},
    {"torchvision_vit_from_earlier", {}, plain<maps::torchvision_vit_from_earlier>},
    {"torchvision_vit_to_earlier", {}, plain<maps::torchvision_vit_to_earlier>},
    {"transformers_text_encoder_to_ldm", {}, plain<maps::transformers_text_encoder_to_ldm>},
    {"whisper_hf_to_openai", {}, plain<maps::whisper_hf_to_openai>},
    {"whisper_openai_to_hf", {}, plain<maps::whisper_openai_to_hf>},
    {"without_wrappers", {}, plain<maps::without_wrappers>},
};

[[nodiscard]] ckpt::error wrong(std::string detail) {
    return {.code = ckpt::errc::rule_invalid, .detail = std::move(detail)};
}

/// "heads=…,kv_heads=…[,tied=0]": what a map takes.
[[nodiscard]] std::string spelled_settings(const settings& takes) {
    std::string out;
    for (const setting& s : takes) {
        if (s.name.empty()) break;
        const std::string one = (out.empty() ? "" : ",") + std::string(s.name) + '=';
        out += s.otherwise < 0 ? one + "N" : '[' + one + std::to_string(s.otherwise) + ']';
    }
    return out;
}

[[nodiscard]] ckpt::error unknown(std::string_view name) {
    std::vector<std::string> names;
    for (const ready& one : all_maps) names.emplace_back(one.name);
    const std::string close = nearest(name, names);
    std::string list;
    for (const std::string& one : names) list += (list.empty() ? "" : ", ") + one;
    return wrong("no map is called " + ckpt::detail::quoted(name) +
                 (close.empty() ? "." : "; did you mean \"" + close + "\"?") + " The maps are: " + list);
}

/// Reads "heads=32,kv_heads=8" into the places of the settings.
[[nodiscard]] ckpt::result<void> read_settings(const ready& of, std::string_view text, numbers& out) {
    const std::string takes = spelled_settings(of.takes);
    while (!text.empty()) {
        const std::string_view one = text.substr(0, text.find(','));
        text.remove_prefix(one.size() < text.size() ? one.size() + 1 : one.size());
        const std::size_t equals = one.find('=');
        std::size_t place = 0;
        while (place < of.takes.size() &&
               (of.takes[place].name.empty() || of.takes[place].name != one.substr(0, equals)))
            ++place;
        std::int64_t value{-1};
        const char* const end = one.data() + one.size();
        const bool is_number = equals < one.size() && std::from_chars(one.data() + equals + 1, end, value) ==
                                                          std::from_chars_result{end, std::errc{}};
        if (place == of.takes.size() || !is_number || value < 0)
            return wrong(ckpt::detail::quoted(one) + " is no setting of the map " + std::string(of.name) +
                         (takes.empty() ? ", which takes none" : ", which takes " + takes));
        out[place] = value;
    }
    return {};
}

} // namespace

ckpt::result<ckpt::key_map> ready_map(std::string_view spelled) {
    const std::string_view name = spelled.substr(0, spelled.find(':'));
    for (const ready& one : all_maps) {
        if (one.name != name) continue;
        numbers given{};
        for (std::size_t i = 0; i < given.size(); ++i) given[i] = one.takes[i].otherwise;
        if (auto read = read_settings(one, spelled.substr(std::min(name.size() + 1, spelled.size())), given); !read)
            return read.error();
        for (std::size_t i = 0; i < given.size(); ++i)
            if (!one.takes[i].name.empty() && given[i] < 0)
                return wrong("the map " + std::string(name) + " needs " + spelled_settings(one.takes) + "; write " +
                             std::string(name) + ":" + std::string(one.takes[i].name) + "=N");
        return one.make(given);
    }
    return unknown(name);
}

} // namespace tool
