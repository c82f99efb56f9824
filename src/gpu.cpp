// gpu/ and host.hpp: the plan of an upload, and the engine on the memory of the host.
#include <ckpt/gpu/impl/staging.ipp>
#include <ckpt/gpu/impl/upload_plan.ipp>
#include <ckpt/impl/host.ipp>
