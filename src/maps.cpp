// maps/: key rules of model families.
#include <ckpt/maps/impl/averages.ipp>
#include <ckpt/maps/impl/chinese_clip.ipp>
#include <ckpt/maps/impl/clip.ipp>
#include <ckpt/maps/impl/gpt2.ipp>
#include <ckpt/maps/impl/latent_diffusion.ipp>
#include <ckpt/maps/impl/llama.ipp>
#include <ckpt/maps/impl/torchvision.ipp>
#include <ckpt/maps/impl/whisper.ipp>
#include <ckpt/maps/impl/wrappers.ipp>
