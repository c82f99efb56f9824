#!/usr/bin/env python3
"""Saves a tiny Whisper as OpenAI's files have it and under transformers' names, in tests/data/frameworks/names_whisper.
Which tensor is which is proved by what the models of both packages compute: the same scores of the next token.

    pip install torch==2.13.0 numpy openai-whisper==20250625 transformers==5.23.0
    python tests/frameworks/names_whisper.py
"""
import dataclasses

import torch

import keep
import tiny

import transformers
import whisper

WIDTH, HEADS, LAYERS, TOKENS = 8, 2, 2, 40
DIMENSIONS = whisper.model.ModelDimensions(
    n_mels=4, n_audio_ctx=6, n_audio_state=WIDTH, n_audio_head=HEADS, n_audio_layer=LAYERS, n_vocab=TOKENS,
    n_text_ctx=10, n_text_state=WIDTH, n_text_head=HEADS, n_text_layer=LAYERS)
# What a segment or two of OpenAI's names is in transformers, the longest first.
WORDS = [('encoder.positional_embedding', 'encoder.embed_positions.weight'),
         ('decoder.positional_embedding', 'decoder.embed_positions.weight'),
         ('token_embedding', 'embed_tokens'), ('encoder.ln_post', 'encoder.layer_norm'),
         ('decoder.ln.', 'decoder.layer_norm.'), ('blocks', 'layers'),
         ('cross_attn_ln', 'encoder_attn_layer_norm'), ('cross_attn', 'encoder_attn'),
         ('.attn_ln', '.self_attn_layer_norm'), ('.attn.', '.self_attn.'), ('mlp_ln', 'final_layer_norm'),
         ('mlp.0', 'fc1'), ('mlp.2', 'fc2'), ('query', 'q_proj'), ('key', 'k_proj'), ('value', 'v_proj'),
         ('attn.out', 'attn.out_proj')]


def name_in_transformers(key):
    for ours, theirs in WORDS:
        key = key.replace(ours, theirs)
    return 'model.' + key


def main():
    torch.manual_seed(7)
    openai = tiny.randomized(whisper.model.Whisper(DIMENSIONS)).eval()
    hf = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(
        vocab_size=TOKENS, num_mel_bins=4, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH, max_source_positions=6, max_target_positions=10, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=3)).eval()
    renamed = {name_in_transformers(key): value for key, value in openai.state_dict().items()}
    renamed['proj_out.weight'] = renamed['model.decoder.embed_tokens.weight']
    hf.load_state_dict(renamed)
    sound, text = torch.randn(1, 4, 12), torch.tensor([[3, 5, 8, 13]])
    with torch.no_grad():
        assert torch.allclose(openai(sound, text), hf(sound, decoder_input_ids=text).logits, atol=1e-4)
    with tiny.empty_folder():
        torch.save({'dims': dataclasses.asdict(DIMENSIONS), 'model_state_dict': openai.state_dict()}, 'openai.pt')
        keep.keep_file('openai.pt', 'names_whisper', 'openai.pt', 'openai-whisper ' + whisper.__version__,
                       "a Whisper with OpenAI's names", weights='model_state_dict')
        torch.save(hf.state_dict(), 'hf.pt')
        keep.keep_file('hf.pt', 'names_whisper', 'hf.pt', 'transformers ' + transformers.__version__,
                       "the same with transformers' names", weights='')


if __name__ == '__main__':
    main()
