// What `zoo bench` does beside its grid: requests one at a time, and the limits of the machine.
#pragma once
#include <iosfwd>

#include "app/bundle.h"

namespace zoo::app {

// Forward, mean of squares of every floating-point output, backward; the parameters have their gradients then. No optimizer: its cost does not
// depend on the network. Gives that mean, detached.
at::Tensor bench_gradients(Model& model, const Tensors& inputs);
void forget_gradients(Model& model);

// Answers one JSON object a line with one a line until the input ends, so that another program can measure zoo and others in turns
// (tests/bench/peers). A request names one piece of work:
//   {"inputs": FILE}                       forward on the tensors of a safetensors file
//   {"inputs": FILE, "generate": OPTIONS}  generation with the keys of generation_config.json
//   {"inputs": FILE, "train": true}        a training step without optimizer (load the network with --mode training)
//   {"texts": FILE}                        sentence vectors of the file's lines, from text to vectors
// "repeat": N does it N times, "least_seconds": S goes on until so much time has passed; "save": FILE writes the results there. The answer:
// {"seconds", the median of all times, "peak_bytes", "resident_bytes"}, or {"error"}. `graphs`: on a GPU shapes that come again are replayed as CUDA
// graphs.
int serve_requests(const Bundle& bundle, std::istream& in, std::ostream& out, bool graphs);

// What this machine can do and how near the layers come: memory bandwidth, products by precision and number of rows.
Json roofline();
std::string roofline_text(const Json& roofline);

}  // namespace zoo::app
