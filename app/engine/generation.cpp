#include "app/engine/generation.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <stdexcept>

#include "app/engine/token_scores.h"

namespace zoo::app {
namespace generation_detail {

constexpr float kOut = -1.0e9F;  // what the reference adds to a beam that must not go on

bool contains(const std::vector<int64_t>& ids, int64_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

struct Candidate {
  float score;
  int64_t beam, token;
};

// What one input's rows do next.
struct Move {
  std::vector<int64_t> parents, tokens;  // of the rows that go on: which row each continues, and with which token
};

// One input being written: `width` rows that belong together.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual std::vector<Generated> results() const = 0;
  bool done = false;
  int64_t index = 0;  // of the input
  std::vector<RowHistory> rows;

 protected:
  void follow(const Move& move) {
    std::vector<RowHistory> next;
    for (size_t i = 0; i < move.parents.size(); ++i) {
      next.push_back(rows[static_cast<size_t>(move.parents[i])]);
      next.back().ids.push_back(move.tokens[i]);
    }
    rows = std::move(next);
  }
};

// ---- beam search ----

// Running beams and the finished ones of one input, in the reference's float32 arithmetic.
class BeamWriter : public Writer {
 public:
  BeamWriter(const GenerationOptions& options, size_t prompt) : o_(options), prompt_(prompt), scores_(options.num_beams, kOut) {
    scores_[0] = 0.0F;  // all beams start alike: one counts
  }
  const std::vector<float>& scores() const { return scores_; }

  // `candidates`: the best (1 + ends of sequence) * num_beams or more, best first.
  Move advance(const std::vector<Candidate>& candidates) {
    const int64_t length = static_cast<int64_t>(rows.front().ids.size() - prompt_) + 1;
    const bool last = length >= o_.max_new_tokens;
    const auto ends = [&](const Candidate& c) { return last || contains(o_.eos, c.token); };
    for (size_t i = 0; i < candidates.size() && i < scores_.size(); ++i) {
      if (ends(candidates[i])) finish(candidates[i], length);
    }
    std::vector<Candidate> running = candidates;
    for (Candidate& c : running) c.score += ends(c) ? kOut : 0.0F;
    std::stable_sort(running.begin(), running.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    running.resize(scores_.size());
    Move move;
    for (size_t i = 0; i < running.size(); ++i) {
      scores_[i] = running[i].score;
      move.parents.push_back(running[i].beam);
      move.tokens.push_back(running[i].token);
    }
    follow(move);
    done = last || !improvable(length) || (o_.early_stopping == BeamStop::yes && full());
    return move;
  }

  std::vector<Generated> results() const override {
    std::vector<Generated> best(finished_.begin(), finished_.begin() + std::min<int64_t>(o_.num_return_sequences, static_cast<int64_t>(finished_.size())));
    return best;
  }

 private:
  bool full() const { return finished_.size() == scores_.size(); }

  void finish(const Candidate& c, int64_t length) {
    const float score = c.score / static_cast<float>(std::pow(static_cast<double>(length), o_.length_penalty));
    const auto place = std::find_if(finished_.begin(), finished_.end(), [&](const Generated& g) { return static_cast<float>(g.score) < score; });
    if (place == finished_.end() && full()) return;
    const auto& ids = rows[static_cast<size_t>(c.beam)].ids;
    Generated done_now{{ids.begin() + static_cast<int64_t>(prompt_), ids.end()}, score};
    done_now.ids.push_back(c.token);
    finished_.insert(place, std::move(done_now));
    if (finished_.size() > scores_.size()) finished_.pop_back();
  }

  // Whether the best running beam could still beat the worst finished one.
  bool improvable(int64_t length) const {
    if (!full()) return true;
    const bool longest = o_.early_stopping == BeamStop::never && o_.length_penalty > 0.0;
    const double at_length = static_cast<double>(longest ? o_.max_new_tokens : length);
    const float best = scores_.front() / static_cast<float>(std::pow(at_length, o_.length_penalty));
    return best > static_cast<float>(finished_.back().score);
  }

  const GenerationOptions& o_;
  size_t prompt_;
  std::vector<float> scores_;
  std::vector<Generated> finished_;  // best first
};

// ---- greedy and sampling ----

class RowWriter : public Writer {
 public:
  RowWriter(const GenerationOptions& options, size_t prompt, at::Generator generator)
      : o_(options), prompt_(prompt), ended_(static_cast<size_t>(options.num_return_sequences), false), generator_(std::move(generator)) {}

  Move advance(const std::vector<int64_t>& chosen) {
    Move move;
    bool all_ended = true;
    const bool last = static_cast<int64_t>(rows.front().ids.size() - prompt_) + 1 >= o_.max_new_tokens;
    for (size_t i = 0; i < chosen.size(); ++i) {
      const int64_t filler = o_.pad >= 0 ? o_.pad : o_.eos.empty() ? 0 : o_.eos.front();
      move.parents.push_back(static_cast<int64_t>(i));
      move.tokens.push_back(ended_[i] ? filler : chosen[i]);
      ended_[i] = ended_[i] || contains(o_.eos, chosen[i]);
      all_ended = all_ended && ended_[i];
    }
    follow(move);
    done = last || all_ended;
    return move;
  }

  std::vector<Generated> results() const override {
    std::vector<Generated> all;
    for (const auto& row : rows) {
      const auto begin = row.ids.begin() + static_cast<int64_t>(prompt_);
      const auto end = std::find_if(begin, row.ids.end(), [&](int64_t id) { return contains(o_.eos, id); });
      all.push_back({{begin, end == row.ids.end() ? end : end + 1}, 0.0});
    }
    return all;
  }
  at::Generator& generator() { return generator_; }

 private:
  const GenerationOptions& o_;
  size_t prompt_;
  std::vector<bool> ended_;
  at::Generator generator_;
};

// ---- the loop ----

class Generation {
 public:
  Generation(Model& model, const Tensors& inputs, const GenerationOptions& options) : o_(options), inputs_(inputs) {
    network_ = dynamic_cast<IncrementalDecoder*>(&model);
    if (!network_) throw std::invalid_argument("the network does not write texts; generation needs one with a language model head (zoo list --task seq2seq, or --task generate)");
    width_ = o_.num_beams > 1 ? o_.num_beams : o_.num_return_sequences;
    read_inputs();
  }

  std::vector<std::vector<Generated>> run() {
    const c10::InferenceMode guard;
    begin();
    for (int64_t written = 0; !writers_.empty(); ++written) step(written);
    return std::move(results_);
  }

 private:
  void read_inputs() {
    const at::Tensor tokens = inputs_.at("tokens").to(at::kCPU).contiguous();
    const auto mask = inputs_.find("mask");
    const at::Tensor kept = (mask == inputs_.end() ? at::ones_like(tokens) : mask->second.to(at::kCPU, at::kLong)).argmax(1).contiguous();
    paddings_.assign(kept.const_data_ptr<int64_t>(), kept.const_data_ptr<int64_t>() + kept.numel());
    for (int64_t row = 0; row < tokens.size(0); ++row) {
      const int64_t* ids = tokens.const_data_ptr<int64_t>() + row * tokens.size(1);
      rows_read_.emplace_back(ids, ids + tokens.size(1));  // with their padding: the reference bans what stands there, too
    }
  }

  // The prompt: the start token where there is an encoder, else the input itself.
  void begin() {
    const auto& tokens = inputs_.at("tokens");
    const int64_t count = tokens.size(0);
    if (network_->has_encoder() && o_.decoder_start < 0) {
      throw std::invalid_argument("neither generation_config.json nor config.json has a decoder_start_token_id, with which the decoder begins (add it, or pass "
                                  "--option decoder_start_token_id=...)");
    }
    const at::Tensor prompt = network_->has_encoder() ? at::full({count, 1}, o_.decoder_start, tokens.options()) : tokens;
    if (!network_->has_encoder()) count_from_prompt(prompt.size(1));
    const int64_t capacity = prompt.size(1) + o_.max_new_tokens;
    if (network_->longest() > 0 && capacity - 1 > network_->longest()) {
      throw std::invalid_argument("max_new_tokens is " + std::to_string(o_.max_new_tokens) + " after a prompt of " + std::to_string(prompt.size(1)) +
                                  " tokens; the network has positions for " + std::to_string(network_->longest()) + " (ask for fewer, or shorten the text)");
    }
    state_ = network_->start(inputs_, width_, capacity);
    results_.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) add_writer(i);
    logits_ = network_->decode(prompt, state_).to(at::kFloat);  // every row of an input begins alike: computed once
    const at::Tensor spread = at::arange(count, tokens.options()).repeat_interleave(width_);
    if (width_ > 1) {
      state_.select(spread);
      logits_ = logits_.index_select(0, spread);
    }
  }

  // max_length and min_length of a network without an encoder count the prompt.
  void count_from_prompt(int64_t prompt) {
    if (o_.max_length > 0 && prompt >= o_.max_length) {
      throw std::invalid_argument("max_length is " + std::to_string(o_.max_length) + ", but the prompt has " + std::to_string(prompt) +
                                  " tokens and counts (give max_new_tokens)");
    }
    if (o_.max_length > 0) o_.max_new_tokens = o_.max_length - prompt;
    if (o_.min_length > 0) o_.min_new_tokens = std::max<int64_t>(0, o_.min_length - prompt);
  }

  void add_writer(int64_t index) {
    const auto i = static_cast<size_t>(index);
    const std::vector<int64_t> prompt = network_->has_encoder() ? std::vector<int64_t>{o_.decoder_start} : rows_read_[i];
    std::unique_ptr<Writer> writer;
    if (o_.num_beams > 1) writer = std::make_unique<BeamWriter>(o_, prompt.size());
    else writer = std::make_unique<RowWriter>(o_, prompt.size(), at::make_generator<at::CPUGeneratorImpl>(o_.seed + i));
    writer->index = index;
    writer->rows.assign(static_cast<size_t>(width_), RowHistory{prompt, &rows_read_[i], network_->has_encoder() ? 0 : paddings_[i]});
    writers_.push_back(std::move(writer));
  }

  void step(int64_t written) {
    std::vector<RowHistory> rows;
    for (const auto& writer : writers_) rows.insert(rows.end(), writer->rows.begin(), writer->rows.end());
    at::Tensor scores = o_.num_beams > 1 ? logits_.log_softmax(-1) : logits_;
    scores = constrained(scores, rows, written, o_);
    if (o_.do_sample) scores = warped(scores, o_);
    const auto moves = o_.num_beams > 1 ? search(scores) : choose(scores);
    go_on(moves);
  }

  std::vector<Move> search(const at::Tensor& scores) {  // [inputs * beams, vocabulary]
    const auto inputs = static_cast<int64_t>(writers_.size());
    const int64_t vocabulary = scores.size(1);
    std::vector<float> running;
    for (const auto& writer : writers_) {
      const auto& own = static_cast<BeamWriter&>(*writer).scores();
      running.insert(running.end(), own.begin(), own.end());
    }
    const at::Tensor sums = (scores + at::tensor(running, at::kFloat).to(scores.device()).unsqueeze(1)).view({inputs, -1});
    const int64_t wanted = std::min<int64_t>(std::max<int64_t>(2, 1 + static_cast<int64_t>(o_.eos.size())) * o_.num_beams, sums.size(1));
    auto [values, places] = o_.do_sample ? draw_candidates(sums.to(at::kCPU), wanted) : sums.topk(wanted);
    values = values.to(at::kCPU).contiguous();
    places = places.to(at::kCPU).contiguous();
    std::vector<Move> moves;
    for (int64_t i = 0; i < inputs; ++i) {
      std::vector<Candidate> candidates;
      for (int64_t j = 0; j < wanted; ++j) {
        const int64_t place = places.const_data_ptr<int64_t>()[i * wanted + j];
        candidates.push_back({values.const_data_ptr<float>()[i * wanted + j], place / vocabulary, place % vocabulary});
      }
      moves.push_back(static_cast<BeamWriter&>(*writers_[static_cast<size_t>(i)]).advance(candidates));
    }
    return moves;
  }

  std::tuple<at::Tensor, at::Tensor> draw_candidates(const at::Tensor& sums, int64_t wanted) {
    if (!beam_generator_.defined()) beam_generator_ = at::make_generator<at::CPUGeneratorImpl>(o_.seed);
    const at::Tensor places = at::multinomial(sums.softmax(-1), wanted, /*replacement=*/false, beam_generator_);
    return {sums.gather(1, places), places};
  }

  std::vector<Move> choose(const at::Tensor& scores) {  // [inputs * rows, vocabulary]
    const at::Tensor best = o_.do_sample ? at::Tensor() : scores.argmax(-1).to(at::kCPU).contiguous();
    const at::Tensor p = o_.do_sample ? scores.softmax(-1).to(at::kCPU) : at::Tensor();
    std::vector<Move> moves;
    for (size_t i = 0; i < writers_.size(); ++i) {
      auto& writer = static_cast<RowWriter&>(*writers_[i]);
      const int64_t from = static_cast<int64_t>(i) * width_;
      const at::Tensor ids = best.defined() ? best.narrow(0, from, width_) : at::multinomial(p.narrow(0, from, width_), 1, false, writer.generator()).squeeze(1);
      moves.push_back(writer.advance({ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + width_}));
    }
    return moves;
  }

  // Finished inputs leave; the others' rows are ordered anew and read their next token.
  void go_on(const std::vector<Move>& moves) {
    std::vector<int64_t> parents, tokens, staying;
    std::vector<std::unique_ptr<Writer>> left;
    for (size_t i = 0; i < writers_.size(); ++i) {
      if (writers_[i]->done) {
        results_[static_cast<size_t>(writers_[i]->index)] = writers_[i]->results();
        continue;
      }
      for (const int64_t parent : moves[i].parents) parents.push_back(static_cast<int64_t>(i) * width_ + parent);
      tokens.insert(tokens.end(), moves[i].tokens.begin(), moves[i].tokens.end());
      staying.push_back(static_cast<int64_t>(i));
      left.push_back(std::move(writers_[i]));
    }
    const bool fewer = left.size() < writers_.size();
    writers_ = std::move(left);
    if (writers_.empty()) return;
    const at::Device device = inputs_.at("tokens").device();
    if (fewer) state_.keep_inputs(at::tensor(staying, at::kLong).to(device));
    if (fewer || o_.num_beams > 1) state_.select(at::tensor(parents, at::kLong).to(device));
    logits_ = network_->decode(at::tensor(tokens, at::kLong).to(device).unsqueeze(1), state_).to(at::kFloat);
  }

  GenerationOptions o_;  // the writers refer to it
  const Tensors& inputs_;
  IncrementalDecoder* network_ = nullptr;
  int64_t width_ = 1;
  std::deque<std::vector<int64_t>> rows_read_;
  std::vector<int64_t> paddings_;  // of each input: tokens before the first kept one
  Decoding state_;
  at::Tensor logits_;
  at::Generator beam_generator_;
  std::vector<std::unique_ptr<Writer>> writers_;  // of the inputs that are not done
  std::vector<std::vector<Generated>> results_;
};

}  // namespace generation_detail

std::vector<std::vector<Generated>> generate(Model& model, const Tensors& inputs, const GenerationOptions& options) {
  return generation_detail::Generation(model, inputs, options).run();
}

}  // namespace zoo::app
