#include "app/engine/generation.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <stdexcept>

#include "app/engine/generation_writers.h"
#include "app/engine/recorded_decoding.h"
#include "app/engine/token_scores.h"
#include "models/blocks/row_kernels.h"

namespace zoo::app {
namespace generation_detail {

// max_length and min_length count what the decoder begins with.
void count_prompt(GenerationOptions& o, int64_t prompt) {
  if (o.max_length > 0) o.max_new_tokens = o.max_length - prompt;
  if (o.min_length > 0) o.min_new_tokens = std::max<int64_t>(0, o.min_length - prompt);
}

std::string trouble_of(const IncrementalDecoder& network, GenerationOptions o, int64_t prompt) {
  if (o.max_length > 0 && prompt >= o.max_length) {
    return "max_length is " + std::to_string(o.max_length) + ", but the prompt has " + std::to_string(prompt) + " tokens and counts (give max_new_tokens)";
  }
  count_prompt(o, prompt);
  if (network.longest() == 0 || prompt + o.max_new_tokens - 1 <= network.longest()) return "";
  return "max_new_tokens is " + std::to_string(o.max_new_tokens) + " after a prompt of " + std::to_string(prompt) +
         " tokens; the network has positions for " + std::to_string(network.longest()) + " (ask for fewer, or shorten the text)";
}

IncrementalDecoder& decoder_of(Model& model) {
  auto* network = dynamic_cast<IncrementalDecoder*>(&model);
  if (!network) throw std::invalid_argument("the network does not write texts; generation needs one with a language model head (zoo list --task seq2seq, or --task generate)");
  return *network;
}

void check(const IncrementalDecoder& network, const GenerationOptions& o) {
  if (network.has_encoder() && o.decoder_start < 0) {
    throw std::invalid_argument("neither generation_config.json nor config.json has a decoder_start_token_id, with which the decoder begins (add it, or pass "
                                "--option decoder_start_token_id=...)");
  }
  if (!network.has_encoder() && !o.prefix.empty()) {
    throw std::invalid_argument("a prefix is for networks with an encoder; what this one goes on from stands at the end of its input");
  }
  if (!o.stop_strings.empty() && !o.stop) throw std::invalid_argument("stop_strings need a tokenizer, and there is none");
  if (o.allowed && o.eos.empty()) throw std::invalid_argument("a list of allowed outputs needs an eos_token_id, with which they end");
  if (o.allowed && (o.num_beam_groups > 1 || (o.do_sample && o.num_beams > 1))) {
    throw std::invalid_argument("a list of allowed outputs goes with greedy decoding, sampling or beam search, not with sampled beams or beam groups");
  }
}

class Generation {
 public:
  Generation(Model& model, const Tensors& inputs, const GenerationOptions& options, RecordedDecoding* recorded)
      : o_(options), inputs_(inputs), network_(decoder_of(model)), recorded_(recorded), width_(o_.num_beams > 1 ? o_.num_beams : o_.num_return_sequences) {
    check(network_, o_);
    read_inputs();
  }

  std::vector<std::vector<Generated>> run() {
    const c10::InferenceMode guard;
    begin();
    const bool ahead = steps_ && chosen_by_logits_alone(o_);
    for (int64_t written = 0; !writers_.empty(); ++written) {
      if (ahead && written > 0) write_ahead(written);
      else go_on(o_.num_beam_groups > 1 ? in_groups(written) : o_.num_beams > 1 ? search(written) : choose(written));
    }
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

  // The prompt: the start token (and what the decoder is told to begin with) where there is an encoder, else the input itself.
  void begin() {
    const auto& tokens = inputs_.at("tokens");
    const int64_t count = tokens.size(0);
    std::vector<int64_t> beginning = o_.prefix;
    beginning.insert(beginning.begin(), o_.decoder_start);
    const at::Tensor prompt = network_.has_encoder() ? at::tensor(beginning, at::kLong).to(tokens.device()).expand({count, -1}) : tokens;
    if (const auto trouble = trouble_of(network_, o_, prompt.size(1)); !trouble.empty()) throw std::invalid_argument(trouble);
    count_prompt(o_, prompt.size(1));
    const int64_t capacity = prompt.size(1) + o_.max_new_tokens;
    results_.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) add_writer(i, beginning);
    if (recorded_) {
      if (const auto writing = recorded_->begin(inputs_, prompt, width_, capacity)) {
        steps_ = writing->steps;
        logits_ = writing->logits;
        return;
      }
    }
    auto begun = begin_texts(network_, inputs_, prompt, width_, capacity);
    state_ = std::move(begun.state);
    logits_ = begun.logits;
  }

  void add_writer(int64_t index, const std::vector<int64_t>& beginning) {
    const auto i = static_cast<size_t>(index);
    const RowHistory row{network_.has_encoder() ? beginning : rows_read_[i], &rows_read_[i], network_.has_encoder() ? 0 : paddings_[i], {}};
    const size_t prompt = row.ids.size();
    const std::vector<RowHistory> rows(static_cast<size_t>(width_), row);
    if (o_.num_beam_groups > 1) writers_.push_back(std::make_unique<GroupWriter>(o_, index, prompt, rows));
    else if (o_.num_beams > 1) writers_.push_back(std::make_unique<BeamWriter>(o_, index, prompt, rows));
    else writers_.push_back(std::make_unique<RowWriter>(o_, index, prompt, rows));
  }

  template <class W>
  W& writer(size_t i) {
    return static_cast<W&>(*writers_[i]);
  }

  at::Tensor processed(at::Tensor scores, const std::vector<RowHistory>& rows, int64_t written) const {
    scores = constrained(scores, rows, written, o_);
    if (o_.do_sample) scores = warped(scores, o_);
    return o_.renormalize_logits ? scores.log_softmax(-1) : scores;
  }

  std::vector<RowHistory> all_rows() const {
    std::vector<RowHistory> rows;
    for (const auto& one : writers_) rows.insert(rows.end(), one->rows.begin(), one->rows.end());
    return rows;
  }

  // For each input the best candidates, best first. log_p [inputs * beams, vocabulary], `running` the scores of the beams so far.
  std::vector<std::vector<Candidate>> candidates(const at::Tensor& log_p, const std::vector<float>& running) {
    const auto inputs = static_cast<int64_t>(writers_.size());
    const int64_t vocabulary = log_p.size(1), beams = log_p.size(0) / inputs;
    const int64_t wanted = std::min<int64_t>(std::max<int64_t>(2, 1 + static_cast<int64_t>(o_.eos.size())) * beams, beams * vocabulary);
    if (!o_.do_sample && log_p.is_cpu() && log_p.is_contiguous()) {
      if (auto best = best_of_rows(log_p, running, wanted); !best.empty()) return best;
    }
    const at::Tensor sums = (log_p + at::tensor(running, at::kFloat).to(log_p.device()).unsqueeze(1)).view({inputs, -1});
    auto [values, places] = o_.do_sample ? draw(sums.to(at::kCPU), wanted) : sums.topk(wanted);
    values = values.to(at::kCPU).contiguous();
    places = places.to(at::kCPU).contiguous();
    std::vector<std::vector<Candidate>> found(writers_.size());
    for (int64_t i = 0; i < inputs * wanted; ++i) {
      const int64_t place = places.const_data_ptr<int64_t>()[i];
      found[static_cast<size_t>(i / wanted)].push_back({values.const_data_ptr<float>()[i], place / vocabulary, place % vocabulary});
    }
    return found;
  }

  // The same without writing down any sums; empty where an input has not so many candidates that are allowed.
  std::vector<std::vector<Candidate>> best_of_rows(const at::Tensor& log_p, const std::vector<float>& running, int64_t wanted) const {
    const int64_t vocabulary = log_p.size(1), beams = log_p.size(0) / static_cast<int64_t>(writers_.size());
    std::vector<std::vector<Candidate>> found(writers_.size());
    at::parallel_for(0, static_cast<int64_t>(writers_.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::vector<Scored> best;
        for (int64_t row = i * beams; row < (i + 1) * beams; ++row) {
          keep_best(log_p.const_data_ptr<float>() + row * vocabulary, vocabulary, running[static_cast<size_t>(row)], (row - i * beams) * vocabulary,
                    static_cast<size_t>(wanted), best);
        }
        std::sort(best.begin(), best.end(), [](const Scored& a, const Scored& b) { return a.score > b.score || (a.score == b.score && a.place < b.place); });
        for (const Scored& one : best) found[static_cast<size_t>(i)].push_back({one.score, one.place / vocabulary, one.place % vocabulary});
      }
    });
    const bool all = std::all_of(found.begin(), found.end(), [&](const auto& own) { return static_cast<int64_t>(own.size()) == wanted; });
    return all ? found : std::vector<std::vector<Candidate>>();
  }

  std::tuple<at::Tensor, at::Tensor> draw(const at::Tensor& sums, int64_t wanted) {
    std::vector<at::Tensor> places;
    for (size_t i = 0; i < writers_.size(); ++i)
      places.push_back(at::multinomial(sums[static_cast<int64_t>(i)].softmax(-1), wanted, /*replacement=*/false, writers_[i]->generator()));
    const at::Tensor all = at::stack(places);
    return {sums.gather(1, all), all};
  }

  std::vector<Move> search(int64_t written) {
    std::vector<float> running;
    for (size_t i = 0; i < writers_.size(); ++i) {
      const auto& own = writer<BeamWriter>(i).scores();
      running.insert(running.end(), own.begin(), own.end());
    }
    const auto found = candidates(processed(logits_.log_softmax(-1), all_rows(), written), running);
    std::vector<Move> moves;
    for (size_t i = 0; i < writers_.size(); ++i) moves.push_back(writer<BeamWriter>(i).advance(found[i]));
    return moves;
  }

  std::vector<Move> in_groups(int64_t written) {
    const at::Tensor log_p = logits_.log_softmax(-1).view({static_cast<int64_t>(writers_.size()), o_.num_beam_groups, -1, logits_.size(-1)});
    for (int64_t group = 0; group < o_.num_beam_groups; ++group) {
      std::vector<float> running;
      std::vector<RowHistory> rows;
      for (size_t i = 0; i < writers_.size(); ++i) {
        const auto own = writer<GroupWriter>(i).scores(group);
        running.insert(running.end(), own.begin(), own.end());
        for (auto& row : writer<GroupWriter>(i).histories(group)) rows.push_back(std::move(row));
      }
      const auto found = candidates(processed(log_p.select(1, group).flatten(0, 1), rows, written), running);
      for (size_t i = 0; i < writers_.size(); ++i) writer<GroupWriter>(i).choose(group, found[i]);
    }
    std::vector<Move> moves;
    for (size_t i = 0; i < writers_.size(); ++i) moves.push_back(writer<GroupWriter>(i).advance());
    return moves;
  }

  std::vector<Move> choose(int64_t written) {
    const at::Tensor scores = processed(logits_, all_rows(), written);
    const at::Tensor best = o_.do_sample ? at::Tensor() : scores.argmax(-1).to(at::kCPU).contiguous();
    const at::Tensor p = o_.do_sample ? scores.softmax(-1).to(at::kCPU) : at::Tensor();
    std::vector<Move> moves;
    for (size_t i = 0; i < writers_.size(); ++i) {
      const int64_t from = static_cast<int64_t>(i) * width_;
      const at::Tensor ids = best.defined() ? best.narrow(0, from, width_)
                                            : at::multinomial(p.narrow(0, from, width_), 1, false, writers_[i]->generator()).squeeze(1);
      moves.push_back(writer<RowWriter>(i).advance({ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + width_}));
    }
    return moves;
  }

  // A recorded step that chooses by itself: the next one has begun when the token arrives here.
  void write_ahead(int64_t written) {
    if (written == 1 || written == o_.min_new_tokens) steps_->bar(written < o_.min_new_tokens ? o_.eos : std::vector<int64_t>());
    const at::Tensor chosen = steps_->choose(/*go_on=*/written + 1 < o_.max_new_tokens);
    for (const auto& one : writers_) static_cast<RowWriter&>(*one).advance({chosen.const_data_ptr<int64_t>()[one->index]});
    let_finished_go();
  }

  // Finished inputs leave. Gives the places of the others among those that there were.
  std::vector<int64_t> let_finished_go() {
    std::vector<int64_t> staying;
    std::vector<std::unique_ptr<Writer>> left;
    for (size_t i = 0; i < writers_.size(); ++i) {
      if (writers_[i]->done) {
        results_[static_cast<size_t>(writers_[i]->index)] = writers_[i]->results();
        continue;
      }
      staying.push_back(static_cast<int64_t>(i));
      left.push_back(std::move(writers_[i]));
    }
    writers_ = std::move(left);
    return staying;
  }

  // The rows of inputs that are not finished are ordered anew and read their next token.
  void go_on(const std::vector<Move>& moves) {
    const auto staying = let_finished_go();
    if (writers_.empty()) return;
    if (steps_) step_recorded(moves, staying);
    else step(moves, staying);
  }

  void step(const std::vector<Move>& moves, const std::vector<int64_t>& staying) {
    std::vector<int64_t> parents, tokens;
    for (const int64_t i : staying) {
      const Move& move = moves[static_cast<size_t>(i)];
      for (const int64_t parent : move.parents) parents.push_back(i * width_ + parent);
      tokens.insert(tokens.end(), move.tokens.begin(), move.tokens.end());
    }
    const at::Device device = inputs_.at("tokens").device();
    const bool fewer = staying.size() < moves.size();
    if (fewer) state_.keep_inputs(at::tensor(staying, at::kLong).to(device));
    if (fewer || o_.num_beams > 1) state_.select(at::tensor(parents, at::kLong).to(device));
    logits_ = network_.decode(at::tensor(tokens, at::kLong).to(device).unsqueeze(1), state_).to(at::kFloat);
  }

  // A recording has as many rows as there were at first, in their places: those of finished inputs go on with token 0, and nobody
  // reads what they say.
  void step_recorded(const std::vector<Move>& moves, const std::vector<int64_t>& staying) {
    std::vector<int64_t> parents(results_.size() * static_cast<size_t>(width_)), tokens(parents.size(), 0), rows;
    std::iota(parents.begin(), parents.end(), 0);
    for (size_t i = 0; i < staying.size(); ++i) {
      const Move& move = moves[static_cast<size_t>(staying[i])];
      const int64_t first = writers_[i]->index * width_;
      for (int64_t own = 0; own < width_; ++own) {
        parents[static_cast<size_t>(first + own)] = first + move.parents[static_cast<size_t>(own)];
        tokens[static_cast<size_t>(first + own)] = move.tokens[static_cast<size_t>(own)];
        rows.push_back(first + own);
      }
    }
    const at::Device device = inputs_.at("tokens").device();
    if (o_.num_beams > 1) steps_->select(at::tensor(parents, at::kLong).to(device));
    logits_ = steps_->step(at::tensor(tokens, at::kLong));
    if (rows.size() < tokens.size()) logits_ = logits_.index_select(0, at::tensor(rows, at::kLong).to(device));
  }

  GenerationOptions o_;  // the writers refer to it
  const Tensors& inputs_;
  IncrementalDecoder& network_;
  RecordedDecoding* recorded_;
  FixedSteps* steps_ = nullptr;                // takes the place of state_ after the prompt
  int64_t width_;                              // rows of an input
  std::deque<std::vector<int64_t>> rows_read_;
  std::vector<int64_t> paddings_;              // of each input: tokens before the first kept one
  Decoding state_;
  at::Tensor logits_;                          // [rows, vocabulary] of the next token
  std::vector<std::unique_ptr<Writer>> writers_;  // of the inputs that are not done
  std::vector<std::vector<Generated>> results_;
};

}  // namespace generation_detail

std::string prompt_trouble(Model& model, const GenerationOptions& options, int64_t tokens) {
  return generation_detail::trouble_of(generation_detail::decoder_of(model), options, tokens);
}

std::vector<std::vector<Generated>> generate(Model& model, const Tensors& inputs, const GenerationOptions& options) {
  return generation_detail::Generation(model, inputs, options, nullptr).run();
}

Generator::Generator(Model& model) : model_(model), recorded_(std::make_unique<RecordedDecoding>(model)) {}
Generator::~Generator() = default;

std::vector<std::vector<Generated>> Generator::operator()(const Tensors& inputs, const GenerationOptions& options) {
  return generation_detail::Generation(model_, inputs, options, recorded_.get()).run();
}

}  // namespace zoo::app
