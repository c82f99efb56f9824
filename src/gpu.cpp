#include <ckpt/gpu/impl/staging.ipp>
#include <ckpt/gpu/impl/upload_plan.ipp>
