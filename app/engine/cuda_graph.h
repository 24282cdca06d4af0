// CudaGraph: work on a GPU that is recorded once and played again, without launching its kernels one by one, which costs some 5
// microseconds each: most of the time of a small batch.
#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace zoo::app {

class CudaGraph {
 public:
  static bool built_in();  // this build can record

  CudaGraph();
  ~CudaGraph();
  // Runs `work` once for real, since libraries set themselves up in a first call, and once to record it. Tensors that it made then
  // are where replays write. Throws c10::Error for work that cannot be recorded: it waits for the GPU. Requires built_in().
  void record(c10::Device device, const std::function<void()>& work);
  // Records `work` without running it: for work that changes more than its own tensors (running statistics, random numbers) and whose like has run
  // before. Random numbers drawn on the GPU go on from replay to replay as without a recording. What it computes on the way lies where `other`
  // (or none) keeps the like, so the two may play only in turns. Throws as record(); nothing has happened then.
  void capture(c10::Device device, const std::function<void()>& work, const CudaGraph* other = nullptr);
  // Plays the recording on the current stream.
  void replay();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace zoo::app
