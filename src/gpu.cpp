// gpu/ and host.hpp: the plan of an upload, and the engine on the memory of the host.
#include <ckpt/gpu/impl/host_api.ipp>
#include <ckpt/gpu/impl/plan_copies.ipp>
#include <ckpt/gpu/impl/plan_data.ipp>
#include <ckpt/gpu/impl/plan_grouping.ipp>
#include <ckpt/gpu/impl/plan_inputs.ipp>
#include <ckpt/gpu/impl/plan_reads.ipp>
#include <ckpt/gpu/impl/plan_replicas.ipp>
#include <ckpt/gpu/impl/staging.ipp>
#include <ckpt/gpu/impl/upload_effort.ipp>
#include <ckpt/gpu/impl/upload_plan.ipp>
#include <ckpt/impl/host.ipp>
