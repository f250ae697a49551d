"""Hugging Face Trainer: one callback. Trains a small BERT on scikit-learn's digits and finds a dead layer."""

import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

from fastact.huggingface import ActivationCallback

x, y = load_digits(return_X_y=True)
# An image is a sentence of 64 words: its pixels, which have 17 levels.
data = [{"input_ids": torch.tensor(pixels), "labels": int(label)} for pixels, label in zip(x.astype(int), y)]
set_seed(0)
config = BertConfig(
    vocab_size=17, max_position_embeddings=64, num_labels=10, hidden_act="relu",
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
)  # fmt: skip
model = BertForSequenceClassification(config)
# The mistake that fastact is to find.
torch.nn.init.constant_(model.bert.encoder.layer[1].intermediate.dense.bias, -10.0)

callback = ActivationCallback(sys.argv[1] if sys.argv[1:] else "runs/huggingface")
with tempfile.TemporaryDirectory() as output:
    arguments = TrainingArguments(
        output, max_steps=20, per_device_train_batch_size=32, learning_rate=0.003,
        use_cpu=True, save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
print(callback.monitor.diagnose())
