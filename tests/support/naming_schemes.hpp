// tests/support/naming_schemes.hpp: names that one model has in two public projects, and which tensor is which.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     pairs of schemes. Sizes are small, but those that are equal in the real models are equal here.
//
// A row is `LEFT | RIGHT | SHAPE`. `{i}` stands for the layers 0 and 1, `*` for weight and bias (a vector of the first
// size), `{a,b}` for a row with a and one with b on the other side's place; where the other side has one name only, the
// rows lie one after another in its tensor. `A > B` is the shape of the left side and of the right side: the tensor is
// transposed. A row `@ LEFT | RIGHT | SIZE` begins all names up to the next one; `d` is SIZE there. `-` stands for
// nothing: the other project has no such tensor. What the names were taken from stands with each pair;
// tests/frameworks/naming_schemes.py compares them with the packages that install.
#pragma once

#include <string_view>

namespace test_support {

struct naming_pair {
    std::string_view name{};
    std::string_view rows{};
};

inline constexpr naming_pair naming_pairs[]{
    // WhisperForConditionalGeneration of transformers 4.57; whisper/model.py of openai-whisper 20250625.
    {"whisper: transformers, openai", R"(
@ model. |
encoder.conv1.* | encoder.conv1.* | 8 6 3
encoder.conv2.* | encoder.conv2.* | 8 8 3
encoder.embed_positions.weight | encoder.positional_embedding | 10 8
encoder.layer_norm.* | encoder.ln_post.* | 8
decoder.embed_tokens.weight | decoder.token_embedding.weight | 20 8
decoder.embed_positions.weight | decoder.positional_embedding | 7 8
decoder.layer_norm.* | decoder.ln.* | 8
@ model.{encoder,decoder}.layers.{i}. | {encoder,decoder}.blocks.{i}.
self_attn.k_proj.weight | attn.key.weight | 8 8
self_attn.{v_proj,q_proj,out_proj}.* | attn.{value,query,out}.* | 8 8
self_attn_layer_norm.* | attn_ln.* | 8
fc1.* | mlp.0.* | 32 8
fc2.* | mlp.2.* | 8 32
final_layer_norm.* | mlp_ln.* | 8
@ model.decoder.layers.{i}. | decoder.blocks.{i}.
encoder_attn.k_proj.weight | cross_attn.key.weight | 8 8
encoder_attn.{v_proj,q_proj,out_proj}.* | cross_attn.{value,query,out}.* | 8 8
encoder_attn_layer_norm.* | cross_attn_ln.* | 8
)"},
    // clip/model.py of openai-clip 1.0.1; CLIPModel and convert_clip_original_pytorch_to_hf.py of transformers 4.46.
    // The
    // towers are as wide as each other, as those of no published model are: harder.
    {"clip: openai, transformers", R"(
@ |
visual.class_embedding | vision_model.embeddings.class_embedding | 8
visual.conv1.weight | vision_model.embeddings.patch_embedding.weight | 8 3 4 4
visual.positional_embedding | vision_model.embeddings.position_embedding.weight | 5 8
visual.ln_pre.* | vision_model.pre_layrnorm.* | 8
visual.ln_post.* | vision_model.post_layernorm.* | 8
visual.proj | visual_projection.weight | 8 6 > 6 8
token_embedding.weight | text_model.embeddings.token_embedding.weight | 16 8
positional_embedding | text_model.embeddings.position_embedding.weight | 5 8
ln_final.* | text_model.final_layer_norm.* | 8
text_projection | text_projection.weight | 8 6 > 6 8
logit_scale | logit_scale |
@ {visual.transformer,transformer}.resblocks.{i}. | {vision_model,text_model}.encoder.layers.{i}.
attn.in_proj_* | self_attn.{q_proj,k_proj,v_proj}.* | 8 8
attn.out_proj.* | self_attn.out_proj.* | 8 8
ln_1.* | layer_norm1.* | 8
ln_2.* | layer_norm2.* | 8
mlp.c_fc.* | mlp.fc1.* | 32 8
mlp.c_proj.* | mlp.fc2.* | 8 32
)"},
    // RobertaForMaskedLM and convert_roberta_original_pytorch_checkpoint_to_pytorch.py of transformers 4.46, which
    // names
    // fairseq's side.
    {"roberta: transformers, fairseq", R"(
@ |
roberta.embeddings.word_embeddings.weight | encoder.sentence_encoder.embed_tokens.weight | 20 8
roberta.embeddings.position_embeddings.weight | encoder.sentence_encoder.embed_positions.weight | 10 8
roberta.embeddings.token_type_embeddings.weight | - | 2 8
roberta.embeddings.LayerNorm.* | encoder.sentence_encoder.emb_layer_norm.* | 8
lm_head.dense.* | encoder.lm_head.dense.* | 8 8
lm_head.layer_norm.* | encoder.lm_head.layer_norm.* | 8
lm_head.decoder.weight | encoder.lm_head.weight | 20 8
lm_head.decoder.bias | encoder.lm_head.bias | 20
@ roberta.encoder.layer.{i}. | encoder.sentence_encoder.layers.{i}.
attention.self.{query,key,value}.* | self_attn.{q_proj,k_proj,v_proj}.* | 8 8
attention.output.dense.* | self_attn.out_proj.* | 8 8
attention.output.LayerNorm.* | self_attn_layer_norm.* | 8
intermediate.dense.* | fc1.* | 32 8
output.dense.* | fc2.* | 8 32
output.LayerNorm.* | final_layer_norm.* | 8
)"},
    // BartForConditionalGeneration of transformers 4.57; torch.nn.Transformer of torch 2.13, as of an own translation
    // model.
    {"bart: transformers, nn.Transformer", R"(
@ model.{encoder,decoder}.layers.{i}. | transformer.{encoder,decoder}.layers.{i}.
self_attn.{q_proj,k_proj,v_proj}.* | self_attn.in_proj_* | 8 8
self_attn.out_proj.* | self_attn.out_proj.* | 8 8
fc1.* | linear1.* | 32 8
fc2.* | linear2.* | 8 32
self_attn_layer_norm.* | norm1.* | 8
@ model.encoder.layers.{i}. | transformer.encoder.layers.{i}.
final_layer_norm.* | norm2.* | 8
@ model.decoder.layers.{i}. | transformer.decoder.layers.{i}.
encoder_attn.{q_proj,k_proj,v_proj}.* | multihead_attn.in_proj_* | 8 8
encoder_attn.out_proj.* | multihead_attn.out_proj.* | 8 8
encoder_attn_layer_norm.* | norm2.* | 8
final_layer_norm.* | norm3.* | 8
)"},
    // fairseq's TransformerModel and the names of fairseq2: fairseq2/models/nllb/interop.py of fairseq2 0.8.
    {"nllb: fairseq, fairseq2", R"(
@ |
encoder.embed_tokens.weight | encoder_frontend.embed.weight | 20 8
decoder.embed_tokens.weight | decoder_frontend.embed.weight | 20 8
decoder.output_projection.weight | final_proj.weight | 20 8
encoder.layer_norm.* | encoder.layer_norm.* | 8
decoder.layer_norm.* | decoder.layer_norm.* | 8
@ {encoder,decoder}.layers.{i}. | {encoder,decoder}.layers.{i}.
self_attn.{k_proj,v_proj,q_proj}.* | self_attn.{k_proj,v_proj,q_proj}.* | 8 8
self_attn.out_proj.* | self_attn.output_proj.* | 8 8
self_attn_layer_norm.* | self_attn_layer_norm.* | 8
fc1.* | ffn.inner_proj.* | 32 8
fc2.* | ffn.output_proj.* | 8 32
final_layer_norm.* | ffn_layer_norm.* | 8
@ decoder.layers.{i}. | decoder.layers.{i}.
encoder_attn.{k_proj,v_proj,q_proj}.* | encoder_decoder_attn.{k_proj,v_proj,q_proj}.* | 8 8
encoder_attn.out_proj.* | encoder_decoder_attn.output_proj.* | 8 8
encoder_attn_layer_norm.* | encoder_decoder_attn_layer_norm.* | 8
)"},
    // torch.nn.TransformerDecoder of torch 2.13; the decoder of fairseq, named as by fairseq2/models/nllb/interop.py.
    {"decoder: nn.TransformerDecoder, fairseq", R"(
@ |
norm.* | decoder.layer_norm.* | 8
@ layers.{i}. | decoder.layers.{i}.
self_attn.in_proj_* | self_attn.{q_proj,k_proj,v_proj}.* | 8 8
self_attn.out_proj.* | self_attn.out_proj.* | 8 8
multihead_attn.in_proj_* | encoder_attn.{q_proj,k_proj,v_proj}.* | 8 8
multihead_attn.out_proj.* | encoder_attn.out_proj.* | 8 8
linear1.* | fc1.* | 32 8
linear2.* | fc2.* | 8 32
norm1.* | self_attn_layer_norm.* | 8
norm2.* | encoder_attn_layer_norm.* | 8
norm3.* | final_layer_norm.* | 8
)"},
    // DetrForObjectDetection, with a ResNet-18 of timm in it, and
    // convert_detr_original_pytorch_checkpoint_to_pytorch.py of transformers 4.46.
    {"detr: facebookresearch, transformers", R"(
@ |
input_proj.* | model.input_projection.* | 8 16 1 1
query_embed.weight | model.query_position_embeddings.weight | 7 8
transformer.decoder.norm.* | model.decoder.layernorm.* | 8
class_embed.* | class_labels_classifier.* | 5 8
bbox_embed.layers.0.* | bbox_predictor.layers.0.* | 8 8
bbox_embed.layers.1.* | bbox_predictor.layers.1.* | 8 8
bbox_embed.layers.2.* | bbox_predictor.layers.2.* | 4 8
@ transformer.{encoder,decoder}.layers.{i}. | model.{encoder,decoder}.layers.{i}.
self_attn.in_proj_* | self_attn.{q_proj,k_proj,v_proj}.* | 8 8
self_attn.out_proj.* | self_attn.out_proj.* | 8 8
linear1.* | fc1.* | 32 8
linear2.* | fc2.* | 8 32
norm1.* | self_attn_layer_norm.* | 8
@ transformer.encoder.layers.{i}. | model.encoder.layers.{i}.
norm2.* | final_layer_norm.* | 8
@ transformer.decoder.layers.{i}. | model.decoder.layers.{i}.
multihead_attn.in_proj_* | encoder_attn.{q_proj,k_proj,v_proj}.* | 8 8
multihead_attn.out_proj.* | encoder_attn.out_proj.* | 8 8
norm2.* | encoder_attn_layer_norm.* | 8
norm3.* | final_layer_norm.* | 8
@ backbone.0.body. | model.backbone.conv_encoder.model.
conv1.weight | conv1.weight | 8 3 7 7
bn1.{weight,bias,running_mean,running_var} | bn1.{weight,bias,running_mean,running_var} | 8
layer1.{i}.conv1.weight | layer1.{i}.conv1.weight | 8 8 3 3
layer1.{i}.conv2.weight | layer1.{i}.conv2.weight | 8 8 3 3
layer1.{i}.bn1.{weight,bias,running_mean,running_var} | layer1.{i}.bn1.{weight,bias,running_mean,running_var} | 8
layer1.{i}.bn2.{weight,bias,running_mean,running_var} | layer1.{i}.bn2.{weight,bias,running_mean,running_var} | 8
)"},
    // T5ForConditionalGeneration with gated-gelu, and convert_t5x_checkpoint_to_pytorch.py of transformers 4.46, which
    // joins t5x's names with slashes. What it transposes is not square here.
    {"t5: transformers, t5x", R"(
@ |
shared.weight | token_embedder/embedding | 20 8
lm_head.weight | decoder/logits_dense/kernel | 20 8 > 8 20
encoder.final_layer_norm.weight | encoder/encoder_norm/scale | 8
decoder.final_layer_norm.weight | decoder/decoder_norm/scale | 8
encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight | encoder/relpos_bias/rel_embedding | 32 2 > 2 32
decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight | decoder/relpos_bias/rel_embedding | 32 2 > 2 32
@ encoder.block.{i}.layer. | encoder/layers_{i}/
0.SelfAttention.{q,k,v}.weight | attention/{query,key,value}/kernel | 12 8 > 8 12
0.SelfAttention.o.weight | attention/out/kernel | 8 12 > 12 8
0.layer_norm.weight | pre_attention_layer_norm/scale | 8
1.DenseReluDense.{wi_0,wi_1}.weight | mlp/{wi_0,wi_1}/kernel | 32 8 > 8 32
1.DenseReluDense.wo.weight | mlp/wo/kernel | 8 32 > 32 8
1.layer_norm.weight | pre_mlp_layer_norm/scale | 8
@ decoder.block.{i}.layer. | decoder/layers_{i}/
0.SelfAttention.{q,k,v}.weight | self_attention/{query,key,value}/kernel | 12 8 > 8 12
0.SelfAttention.o.weight | self_attention/out/kernel | 8 12 > 12 8
0.layer_norm.weight | pre_self_attention_layer_norm/scale | 8
1.EncDecAttention.{q,k,v}.weight | encoder_decoder_attention/{query,key,value}/kernel | 12 8 > 8 12
1.EncDecAttention.o.weight | encoder_decoder_attention/out/kernel | 8 12 > 12 8
1.layer_norm.weight | pre_cross_attention_layer_norm/scale | 8
2.DenseReluDense.{wi_0,wi_1}.weight | mlp/{wi_0,wi_1}/kernel | 32 8 > 8 32
2.DenseReluDense.wo.weight | mlp/wo/kernel | 8 32 > 32 8
2.layer_norm.weight | pre_mlp_layer_norm/scale | 8
)"},
    // GPT2LMHeadModel and convert_megatron_gpt2_checkpoint.py of transformers 4.46. Megatron's rows of queries, keys
    // and
    // values lie in another order, which is a matter of values.
    {"gpt2: megatron-lm, transformers", R"(
@ language_model. | transformer.
embedding.word_embeddings.weight | wte.weight | 20 8
embedding.position_embeddings.weight | wpe.weight | 10 8
transformer.final_layernorm.* | ln_f.* | 8
@ language_model.transformer.layers.{i}. | transformer.h.{i}.
input_layernorm.* | ln_1.* | 8
attention.query_key_value.weight | attn.c_attn.weight | 24 8 > 8 24
attention.query_key_value.bias | attn.c_attn.bias | 24
attention.dense.* | attn.c_proj.* | 8 8
post_attention_layernorm.* | ln_2.* | 8
mlp.dense_h_to_4h.weight | mlp.c_fc.weight | 32 8 > 8 32
mlp.dense_h_to_4h.bias | mlp.c_fc.bias | 32
mlp.dense_4h_to_h.weight | mlp.c_proj.weight | 8 32 > 32 8
mlp.dense_4h_to_h.bias | mlp.c_proj.bias | 8
)"},
    // Llama of Meta and LlamaForCausalLM: convert_llama_weights_to_hf.py of transformers 4.46. It also permutes rows of
    // wq
    // and wk, which is a matter of values.
    {"llama: meta, transformers", R"(
@ |
tok_embeddings.weight | model.embed_tokens.weight | 20 8
norm.weight | model.norm.weight | 8
output.weight | lm_head.weight | 20 8
@ layers.{i}. | model.layers.{i}.
attention.{wq,wk,wv,wo}.weight | self_attn.{q_proj,k_proj,v_proj,o_proj}.weight | 8 8
feed_forward.w1.weight | mlp.gate_proj.weight | 24 8
feed_forward.w2.weight | mlp.down_proj.weight | 8 24
feed_forward.w3.weight | mlp.up_proj.weight | 24 8
attention_norm.weight | input_layernorm.weight | 8
ffn_norm.weight | post_attention_layernorm.weight | 8
)"},
    // VisionTransformer of timm 1.0.31; ViTForImageClassification and convert_vit_timm_to_pytorch.py of
    // transformers 4.46.
    {"vit: timm, transformers", R"(
@ |
cls_token | vit.embeddings.cls_token | 1 1 8
pos_embed | vit.embeddings.position_embeddings | 1 5 8
patch_embed.proj.* | vit.embeddings.patch_embeddings.projection.* | 8 3 4 4
norm.* | vit.layernorm.* | 8
head.* | classifier.* | 5 8
@ blocks.{i}. | vit.encoder.layer.{i}.
norm1.* | layernorm_before.* | 8
attn.qkv.* | attention.attention.{query,key,value}.* | 8 8
attn.proj.* | attention.output.dense.* | 8 8
norm2.* | layernorm_after.* | 8
mlp.fc1.* | intermediate.dense.* | 32 8
mlp.fc2.* | output.dense.* | 8 32
)"},
    // VisionTransformer of timm 1.0.31 and of torchvision 0.28.
    {"vit: timm, torchvision", R"(
@ |
cls_token | class_token | 1 1 8
pos_embed | encoder.pos_embedding | 1 5 8
patch_embed.proj.* | conv_proj.* | 8 3 4 4
norm.* | encoder.ln.* | 8
head.* | heads.head.* | 5 8
@ blocks.{i}. | encoder.layers.encoder_layer_{i}.
norm1.* | ln_1.* | 8
attn.qkv.weight | self_attention.in_proj_weight | 24 8
attn.qkv.bias | self_attention.in_proj_bias | 24
attn.proj.* | self_attention.out_proj.* | 8 8
norm2.* | ln_2.* | 8
mlp.fc1.* | mlp.0.* | 32 8
mlp.fc2.* | mlp.3.* | 8 32
)"},
    // DINOv2 and Dinov2Model: convert_dinov2_to_hf.py of transformers 4.46.
    {"dinov2: facebookresearch, transformers", R"(
@ |
cls_token | embeddings.cls_token | 1 1 8
mask_token | embeddings.mask_token | 1 8
pos_embed | embeddings.position_embeddings | 1 5 8
patch_embed.proj.* | embeddings.patch_embeddings.projection.* | 8 3 4 4
norm.* | layernorm.* | 8
@ blocks.{i}. | encoder.layer.{i}.
norm1.* | norm1.* | 8
attn.qkv.* | attention.attention.{query,key,value}.* | 8 8
attn.proj.* | attention.output.dense.* | 8 8
ls1.gamma | layer_scale1.lambda1 | 8
norm2.* | norm2.* | 8
mlp.fc1.* | mlp.fc1.* | 32 8
mlp.fc2.* | mlp.fc2.* | 8 32
ls2.gamma | layer_scale2.lambda1 | 8
)"},
    // SwinTransformer of timm before 0.9, which later versions read, and SwinForImageClassification:
    // convert_swin_timm_to_pytorch.py of transformers 4.46.
    {"swin: timm, transformers", R"(
@ | swin.
patch_embed.proj.* | embeddings.patch_embeddings.projection.* | 8 3 4 4
patch_embed.norm.* | embeddings.norm.* | 8
norm.* | layernorm.* | 16
layers.0.downsample.reduction.weight | encoder.layers.0.downsample.reduction.weight | 16 32
layers.0.downsample.norm.* | encoder.layers.0.downsample.norm.* | 32
@ |
head.* | classifier.* | 2 16
@ layers.0.blocks.{i}. | swin.encoder.layers.0.blocks.{i}. | 8
norm1.* | layernorm_before.* | d
attn.relative_position_bias_table | attention.self.relative_position_bias_table | 49 2
attn.relative_position_index | attention.self.relative_position_index | 16 16
attn.qkv.* | attention.self.{query,key,value}.* | d d
attn.proj.* | attention.output.dense.* | d d
norm2.* | layernorm_after.* | d
mlp.fc1.* | intermediate.dense.* | 32 d
mlp.fc2.* | output.dense.* | d 32
@ layers.1.blocks.{i}. | swin.encoder.layers.1.blocks.{i}. | 16
norm1.* | layernorm_before.* | d
attn.relative_position_bias_table | attention.self.relative_position_bias_table | 49 2
attn.relative_position_index | attention.self.relative_position_index | 16 16
attn.qkv.* | attention.self.{query,key,value}.* | d d
attn.proj.* | attention.output.dense.* | d d
norm2.* | layernorm_after.* | d
mlp.fc1.* | intermediate.dense.* | 64 d
mlp.fc2.* | output.dense.* | d 64
)"},
    // Wav2Vec2 of fairseq and Wav2Vec2ForPreTraining: convert_wav2vec2_original_pytorch_checkpoint_to_pytorch.py of
    // transformers 4.46.
    {"wav2vec2: fairseq, transformers", R"(
@ |
mask_emb | wav2vec2.masked_spec_embed | 16
layer_norm.* | wav2vec2.feature_projection.layer_norm.* | 6
post_extract_proj.* | wav2vec2.feature_projection.projection.* | 16 6
encoder.layer_norm.* | wav2vec2.encoder.layer_norm.* | 16
quantizer.vars | quantizer.codevectors | 1 8 4
quantizer.weight_proj.* | quantizer.weight_proj.* | 8 6
project_q.* | project_q.* | 8 8
final_proj.* | project_hid.* | 8 16
feature_extractor.conv_layers.0.0.* | wav2vec2.feature_extractor.conv_layers.0.conv.* | 6 1 3
feature_extractor.conv_layers.0.2.1.* | wav2vec2.feature_extractor.conv_layers.0.layer_norm.* | 6
feature_extractor.conv_layers.1.0.* | wav2vec2.feature_extractor.conv_layers.1.conv.* | 6 6 3
feature_extractor.conv_layers.1.2.1.* | wav2vec2.feature_extractor.conv_layers.1.layer_norm.* | 6
feature_extractor.conv_layers.2.0.* | wav2vec2.feature_extractor.conv_layers.2.conv.* | 6 6 3
feature_extractor.conv_layers.2.2.1.* | wav2vec2.feature_extractor.conv_layers.2.layer_norm.* | 6
encoder.pos_conv.0.bias | wav2vec2.encoder.pos_conv_embed.conv.bias | 16
encoder.pos_conv.0.weight_g | wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0 | 1 1 4
encoder.pos_conv.0.weight_v | wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1 | 16 8 4
@ encoder.layers.{i}. | wav2vec2.encoder.layers.{i}.
self_attn.{k_proj,v_proj,q_proj,out_proj}.* | attention.{k_proj,v_proj,q_proj,out_proj}.* | 16 16
self_attn_layer_norm.* | layer_norm.* | 16
fc1.* | feed_forward.intermediate_dense.* | 32 16
fc2.* | feed_forward.output_dense.* | 16 32
final_layer_norm.* | final_layer_norm.* | 16
)"},
    // Segment Anything and SamModel: convert_sam_to_hf.py of transformers 4.46.
    {"sam: facebookresearch, transformers", R"(
@ |
image_encoder.pos_embed | vision_encoder.pos_embed | 1 4 4 8
image_encoder.patch_embed.proj.* | vision_encoder.patch_embed.projection.* | 8 3 8 8
image_encoder.neck.0.weight | vision_encoder.neck.conv1.weight | 8 8 1 1
image_encoder.neck.1.* | vision_encoder.neck.layer_norm1.* | 8
image_encoder.neck.2.weight | vision_encoder.neck.conv2.weight | 8 8 3 3
image_encoder.neck.3.* | vision_encoder.neck.layer_norm2.* | 8
prompt_encoder.pe_layer.positional_encoding_gaussian_matrix | prompt_encoder.shared_embedding.positional_embedding | 2 4
prompt_encoder.point_embeddings.{0,1,2,3}.weight | prompt_encoder.point_embed.{0,1,2,3}.weight | 1 8
prompt_encoder.not_a_point_embed.weight | prompt_encoder.not_a_point_embed.weight | 1 8
prompt_encoder.no_mask_embed.weight | prompt_encoder.no_mask_embed.weight | 1 8
prompt_encoder.mask_downscaling.0.* | prompt_encoder.mask_embed.conv1.* | 2 1 2 2
prompt_encoder.mask_downscaling.1.* | prompt_encoder.mask_embed.layer_norm1.* | 2
prompt_encoder.mask_downscaling.3.* | prompt_encoder.mask_embed.conv2.* | 8 2 2 2
prompt_encoder.mask_downscaling.4.* | prompt_encoder.mask_embed.layer_norm2.* | 8
prompt_encoder.mask_downscaling.6.* | prompt_encoder.mask_embed.conv3.* | 8 8 1 1
- | shared_image_embedding.positional_embedding | 2 4
mask_decoder.iou_token.weight | mask_decoder.iou_token.weight | 1 8
mask_decoder.mask_tokens.weight | mask_decoder.mask_tokens.weight | 4 8
mask_decoder.output_upscaling.0.weight | mask_decoder.upscale_conv1.weight | 8 2 2 2
mask_decoder.output_upscaling.0.bias | mask_decoder.upscale_conv1.bias | 2
mask_decoder.output_upscaling.1.* | mask_decoder.upscale_layer_norm.* | 2
mask_decoder.output_upscaling.3.weight | mask_decoder.upscale_conv2.weight | 2 1 2 2
mask_decoder.output_upscaling.3.bias | mask_decoder.upscale_conv2.bias | 1
@ mask_decoder.{iou_prediction_head,output_hypernetworks_mlps.0,output_hypernetworks_mlps.1}. | mask_decoder.{iou_prediction_head,output_hypernetworks_mlps.0,output_hypernetworks_mlps.1}.
layers.0.* | proj_in.* | 8 8
layers.1.* | layers.0.* | 8 8
layers.2.* | proj_out.* | 4 8
@ image_encoder.blocks.{i}. | vision_encoder.layers.{i}.
attn.qkv.* | attn.qkv.* | 24 8
attn.proj.* | attn.proj.* | 8 8
attn.rel_pos_h | attn.rel_pos_h | 3 4
attn.rel_pos_w | attn.rel_pos_w | 3 4
norm1.* | layer_norm1.* | 8
norm2.* | layer_norm2.* | 8
mlp.lin1.* | mlp.lin1.* | 32 8
mlp.lin2.* | mlp.lin2.* | 8 32
@ mask_decoder.transformer. | mask_decoder.transformer.
layers.{i}.self_attn.{q_proj,k_proj,v_proj,out_proj}.* | layers.{i}.self_attn.{q_proj,k_proj,v_proj,out_proj}.* | 8 8
layers.{i}.cross_attn_token_to_image.{q_proj,k_proj,v_proj}.* | layers.{i}.cross_attn_token_to_image.{q_proj,k_proj,v_proj}.* | 4 8
layers.{i}.cross_attn_token_to_image.out_proj.* | layers.{i}.cross_attn_token_to_image.out_proj.* | 8 4
layers.{i}.cross_attn_image_to_token.{q_proj,k_proj,v_proj}.* | layers.{i}.cross_attn_image_to_token.{q_proj,k_proj,v_proj}.* | 4 8
layers.{i}.cross_attn_image_to_token.out_proj.* | layers.{i}.cross_attn_image_to_token.out_proj.* | 8 4
layers.{i}.norm1.* | layers.{i}.layer_norm1.* | 8
layers.{i}.norm2.* | layers.{i}.layer_norm2.* | 8
layers.{i}.norm3.* | layers.{i}.layer_norm3.* | 8
layers.{i}.norm4.* | layers.{i}.layer_norm4.* | 8
layers.{i}.mlp.lin1.* | layers.{i}.mlp.lin1.* | 16 8
layers.{i}.mlp.lin2.* | layers.{i}.mlp.lin2.* | 8 16
final_attn_token_to_image.{q_proj,k_proj,v_proj}.* | final_attn_token_to_image.{q_proj,k_proj,v_proj}.* | 4 8
final_attn_token_to_image.out_proj.* | final_attn_token_to_image.out_proj.* | 8 4
norm_final_attn.* | layer_norm_final_attn.* | 8
)"},
    // The UNet of Stable Diffusion 1 in CompVis' latent-diffusion and in diffusers 0.39: its convert_from_ckpt.py. Two
    // levels of two blocks.
    {"stable diffusion: compvis, diffusers", R"(
@ model.diffusion_model. |
time_embed.0.* | time_embedding.linear_1.* | 32 8
time_embed.2.* | time_embedding.linear_2.* | 32 32
input_blocks.0.0.* | conv_in.* | 8 4 3 3
input_blocks.3.0.op.* | down_blocks.0.downsamplers.0.conv.* | 8 8 3 3
out.0.* | conv_norm_out.* | 8
out.2.* | conv_out.* | 4 8 3 3
@ model.diffusion_model.{input_blocks.1.1,input_blocks.2.1,output_blocks.3.1,output_blocks.4.1}. | {down_blocks.0.attentions.0,down_blocks.0.attentions.1,up_blocks.1.attentions.0,up_blocks.1.attentions.1}. | 8
norm.* | norm.* | d
{proj_in,proj_out}.* | {proj_in,proj_out}.* | d d 1 1
transformer_blocks.0.{norm1,norm2,norm3}.* | transformer_blocks.0.{norm1,norm2,norm3}.* | d
transformer_blocks.0.attn1.{to_q,to_k,to_v}.weight | transformer_blocks.0.attn1.{to_q,to_k,to_v}.weight | d d
transformer_blocks.0.attn1.to_out.0.* | transformer_blocks.0.attn1.to_out.0.* | d d
transformer_blocks.0.attn2.to_q.weight | transformer_blocks.0.attn2.to_q.weight | d d
transformer_blocks.0.attn2.{to_k,to_v}.weight | transformer_blocks.0.attn2.{to_k,to_v}.weight | d 8
transformer_blocks.0.attn2.to_out.0.* | transformer_blocks.0.attn2.to_out.0.* | d d
transformer_blocks.0.ff.net.0.proj.* | transformer_blocks.0.ff.net.0.proj.* | 64 d
transformer_blocks.0.ff.net.2.* | transformer_blocks.0.ff.net.2.* | d 32
@ model.diffusion_model.middle_block.1. | mid_block.attentions.0. | 16
norm.* | norm.* | d
{proj_in,proj_out}.* | {proj_in,proj_out}.* | d d 1 1
transformer_blocks.0.{norm1,norm2,norm3}.* | transformer_blocks.0.{norm1,norm2,norm3}.* | d
transformer_blocks.0.attn1.{to_q,to_k,to_v}.weight | transformer_blocks.0.attn1.{to_q,to_k,to_v}.weight | d d
transformer_blocks.0.attn2.to_q.weight | transformer_blocks.0.attn2.to_q.weight | d d
transformer_blocks.0.attn2.{to_k,to_v}.weight | transformer_blocks.0.attn2.{to_k,to_v}.weight | d 8
@ model.diffusion_model.{input_blocks.1.0,input_blocks.2.0}. | down_blocks.0.resnets.{0,1}. | 8
in_layers.0.* | norm1.* | d
in_layers.2.* | conv1.* | d d 3 3
emb_layers.1.* | time_emb_proj.* | d 32
out_layers.0.* | norm2.* | d
out_layers.3.* | conv2.* | d d 3 3
@ model.diffusion_model.{middle_block.0,middle_block.2}. | mid_block.resnets.{0,1}. | 16
in_layers.0.* | norm1.* | d
in_layers.2.* | conv1.* | d d 3 3
emb_layers.1.* | time_emb_proj.* | d 32
out_layers.0.* | norm2.* | d
out_layers.3.* | conv2.* | d d 3 3
)"},
};

} // namespace test_support
