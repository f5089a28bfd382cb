// Greedy decoding by whisper.cpp, one thread, for seq2seq_decode.py: MODEL MELS TOKENS START PLAIN END
// MELS: float32[80][3000], raw. For each line of stdin one line: ENCODE_MS DECODE_MS TOKEN TOKEN ...
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "whisper.h"

namespace {

double now_ms() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void quiet(ggml_log_level, const char*, void*) {}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    return 2;
  }
  whisper_log_set(quiet, nullptr);
  whisper_context_params settings = whisper_context_default_params();
  settings.use_gpu = false;
  settings.flash_attn = std::getenv("FLASH") != nullptr;
  whisper_context* const context = whisper_init_from_file_with_params(argv[1], settings);
  if (context == nullptr) {
    return 1;
  }
  std::vector<float> mels(80 * 3000);
  std::ifstream(argv[2], std::ios::binary).read(reinterpret_cast<char*>(mels.data()), static_cast<std::streamsize>(mels.size() * sizeof(float)));
  const int count = std::atoi(argv[3]);
  const std::vector<whisper_token> prompt{std::atoi(argv[4]), std::atoi(argv[5])};
  const int size = whisper_n_vocab(context);
  for (std::string line; std::getline(std::cin, line);) {
    whisper_set_mel(context, mels.data(), 3000, 80);
    const double began = now_ms();
    whisper_encode(context, 0, 1);
    const double middle = now_ms();
    std::vector<whisper_token> said;
    std::vector<whisper_token> given = prompt;
    int past = 0;
    while (static_cast<int>(said.size()) < count && whisper_decode(context, given.data(), static_cast<int>(given.size()), past, 1) == 0) {
      float* const logits = whisper_get_logits(context) + static_cast<std::ptrdiff_t>(given.size() - 1) * size;
      for (const int never : {1, 2, std::atoi(argv[6])}) {
        logits[never] = -INFINITY;
      }
      past += static_cast<int>(given.size());
      given = {static_cast<whisper_token>(std::max_element(logits, logits + size) - logits)};
      said.push_back(given[0]);
    }
    std::printf("%.3f %.3f", middle - began, now_ms() - middle);
    for (const whisper_token token : said) {
      std::printf(" %d", token);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  whisper_free(context);
}
