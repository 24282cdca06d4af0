#include "app/engine/ranks.h"

#if defined(ZOO_GLOO) && !defined(USE_C10D_GLOO)
#define USE_C10D_GLOO
#endif
#if defined(ZOO_NCCL) && !defined(USE_C10D_NCCL)
#define USE_C10D_NCCL
#endif
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef ZOO_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#include <torch/cuda.h>

#include <cstring>

#include "app/cli.h"
#include "app/engine/ranks_group.h"

namespace zoo::app {
namespace ranks_detail {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kMeeting{120};
// Longer than anything that one rank does while the others wait (saving, the final report); who dies is noticed by the heartbeat.
constexpr std::chrono::minutes kCollective{60};

c10::intrusive_ptr<c10d::Store> connect(const Place& place, bool serve) {
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = serve;
  options.waitWorkers = false;
  options.timeout = kMeeting;
  c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
  return c10::make_intrusive<c10d::PrefixStore>("zoo" + place.session, store);
}

// Without the missing ones the others would wait in the dark.
void wait_for_all(c10d::Store& store, const Place& place) {
  const auto key = [](int rank) { return "zoo/here/" + std::to_string(rank); };
  store.set(key(place.rank), std::vector<uint8_t>{1});
  const auto end = Clock::now() + kMeeting;
  for (int rank = 0; rank < place.size; ++rank) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    try {
      store.wait({key(rank)}, std::max(left, std::chrono::milliseconds(1)));
    } catch (const std::exception&) {
      throw RankFailure("rank " + std::to_string(rank) + " of " + std::to_string(place.size) + " did not come to " + place.address + ":" +
                        std::to_string(place.port) + " within " + std::to_string(kMeeting.count()) + " s (did it start? see its output)");
    }
  }
}

#ifdef ZOO_GLOO
c10::intrusive_ptr<c10d::Backend> gloo(const c10::intrusive_ptr<c10d::Store>& store, const Place& place) {
  auto options = c10d::ProcessGroupGloo::Options::create(kCollective);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface && *interface) options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface));
  // On one machine the loopback always works, whatever its name resolves to.
  else if (place.local_size == place.size) options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  else options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, place.rank, place.size, options);
}
#endif

#ifdef ZOO_NCCL
c10::intrusive_ptr<c10d::Backend> nccl(const c10::intrusive_ptr<c10d::Store>& store, const Place& place) {
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store), place.rank, place.size);
}
#endif

c10::intrusive_ptr<c10d::ProcessGroup> process_group([[maybe_unused]] const c10::intrusive_ptr<c10d::Store>& store, const Place& place) {
  auto group = c10::make_intrusive<c10d::ProcessGroup>(place.rank, place.size);
#ifdef ZOO_GLOO
  group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, gloo(store, place));
#endif
#ifdef ZOO_NCCL
  if (torch::cuda::device_count() > 0) group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, nccl(store, place));
#endif
  return group;
}

at::Tensor as_tensor(const std::string& bytes) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
  if (!bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

std::string as_bytes(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.data_ptr()), static_cast<size_t>(tensor.numel())};
}

}  // namespace ranks_detail

Ranks::Ranks() = default;

Ranks::Ranks(const Place& place) : place_(place) {
  if (place.size == 1) return;
  if (!distributed_available()) {
    throw std::runtime_error("this build cannot train in several processes: it was compiled without gloo's headers (install libgloo-dev and build again)");
  }
  try {
    group_ = std::make_unique<Group>();
    group_->store = ranks_detail::connect(place, place.rank == 0 && !place.store_is_hosted);
    ranks_detail::wait_for_all(*group_->store, place);
    group_->heartbeat = std::make_unique<Heartbeat>(ranks_detail::connect(place, false), place);
    group_->process_group = ranks_detail::process_group(group_->store, place);
    barrier();
  } catch (const RankFailure&) {
    throw;
  } catch (const std::exception& error) {
    throw RankFailure("rank " + std::to_string(place.rank) + " of " + std::to_string(place.size) + " cannot reach the others at " + place.address + ":" +
                      std::to_string(place.port) + ": " + error.what());
  }
}

Ranks::~Ranks() {
  if (!group_ || !group_->heartbeat) return;
  // After a failure the connections end at once: the others, waiting in a collective call, wake and read why.
  if (group_->heartbeat->failed()) group_->process_group.reset();
  leave("");
  group_->heartbeat->wait_for_others(std::chrono::seconds(60));
  group_->heartbeat->part();
  group_->process_group.reset();
}

at::Device Ranks::device(at::Device chosen) const {
  if (!group_ || !chosen.is_cuda()) return chosen;
  const auto count = static_cast<int>(torch::cuda::device_count());
  if (place_.local_rank >= count) {
    throw UsageError("process " + std::to_string(place_.local_rank) + " of this machine (from 0) has no CUDA device of its own: there are " +
                     std::to_string(count) + " (start no more processes than devices, or use --device cpu)");
  }
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(place_.local_rank));
}

void Ranks::blame(const char* doing) const {
  const std::exception_ptr error = std::current_exception();
  const std::string culprit = group_ && group_->heartbeat ? group_->heartbeat->culprit(std::chrono::seconds(12)) : "";
  if (culprit.empty()) std::rethrow_exception(error);
  const std::string text = culprit + "; noticed by rank " + std::to_string(place_.rank) + " while " + doing;
  if (group_) group_->heartbeat->leave(text, /*second_hand=*/true);
  throw RankFailure(text);
}

void Ranks::leave(const std::string& reason) const {
  if (group_ && group_->heartbeat) group_->heartbeat->leave(reason, false);
}

void Ranks::all_reduce_sum(at::Tensor& tensor) const {
  if (!group_) return;
  try {
    std::vector<at::Tensor> list = {tensor};
    group_->process_group->allreduce(list)->wait();
  } catch (const std::exception&) {
    blame("summing");
  }
}

void Ranks::all_reduce_sum(std::span<double> values) const {
  if (!group_) return;
  at::Tensor tensor = at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kDouble);
  all_reduce_sum(tensor);
}

bool Ranks::any(bool here) const {
  double count = here ? 1 : 0;
  all_reduce_sum(std::span(&count, 1));
  return count > 0;
}

void Ranks::broadcast(std::span<const at::Tensor> tensors, int from) const {
  if (!group_) return;
  const at::NoGradGuard no_grad;
  try {
    for (const auto& tensor : tensors) {
      at::Tensor dense = tensor.detach().contiguous();  // shares the memory unless it has to be copied
      std::vector<at::Tensor> list = {dense};
      c10d::BroadcastOptions options;
      options.rootRank = from;
      group_->process_group->broadcast(list, options)->wait();
      if (!tensor.is_contiguous()) tensor.detach().copy_(dense);
    }
  } catch (const std::exception&) {
    blame("sharing tensors");
  }
}

std::string Ranks::broadcast(const std::string& bytes, int from) const {
  if (!group_) return bytes;
  at::Tensor length = at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong);
  broadcast(std::span(&length, 1), from);
  at::Tensor content = place_.rank == from ? ranks_detail::as_tensor(bytes) : at::empty({length.item<int64_t>()}, at::kByte);
  if (content.numel() > 0) broadcast(std::span(&content, 1), from);
  return ranks_detail::as_bytes(content);
}

std::vector<std::string> Ranks::gather(const std::string& bytes) const {
  if (!group_) return {bytes};
  at::Tensor lengths = at::zeros({place_.size}, at::kLong);
  lengths[place_.rank] = static_cast<int64_t>(bytes.size());
  all_reduce_sum(lengths);
  constexpr int kTag = 7;
  std::vector<std::string> all;
  try {
    std::vector<at::Tensor> list = {ranks_detail::as_tensor(bytes)};
    if (place_.rank != 0) {
      if (!bytes.empty()) group_->process_group->send(list, 0, kTag)->wait();
      return all;
    }
    all.push_back(bytes);
    for (int rank = 1; rank < place_.size; ++rank) {
      list[0] = at::empty({lengths[rank].item<int64_t>()}, at::kByte);
      if (list[0].numel() > 0) group_->process_group->recv(list, rank, kTag)->wait();
      all.push_back(ranks_detail::as_bytes(list[0]));
    }
  } catch (const std::exception&) {
    blame("gathering");
  }
  return all;
}

void Ranks::barrier() const { any(false); }

void Ranks::require_same(const std::string& what, const std::string& text) const {
  if (!group_ || broadcast(text) == text) return;
  throw UsageError("the " + what + " of rank " + std::to_string(place_.rank) + " differs from that of rank 0: start all processes with the same command and files");
}

bool distributed_available() {
#ifdef ZOO_GLOO
  return true;
#else
  return false;
#endif
}

std::string distributed_backends() {
#if defined(ZOO_GLOO) && defined(ZOO_NCCL)
  return "gloo, nccl";
#elif defined(ZOO_GLOO)
  return "gloo";
#else
  return "none (built without gloo's headers, Debian's libgloo-dev: one process only)";
#endif
}

struct StoreHost::Server {
  c10::intrusive_ptr<c10d::TCPStore> store;
};

StoreHost::StoreHost() : server_(std::make_unique<Server>()) {
  c10d::TCPStoreOptions options;
  options.port = 0;  // the system chooses a free one
  options.isServer = true;
  options.waitWorkers = false;
  server_->store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}
StoreHost::~StoreHost() = default;
uint16_t StoreHost::port() const { return server_->store->getPort(); }

}  // namespace zoo::app
