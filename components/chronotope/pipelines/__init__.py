"""Steps of the flows: each takes references and typed results, and returns a typed result.

Training:      ``freeze_folds`` → ``search_parameters`` → ``select_context_columns`` →
               ``train_final_model`` → ``compress_model`` → ``evaluate_holdout`` →
               ``register_version`` → ``promote_version`` → ``write_report`` →
               ``publish_training``
Retraining:    ``retrain`` replaces folds, search and training; the other steps are the same
Recompression: ``recompress`` copies folds and network; nothing is trained
Backtest:      ``backtest`` replays a period: predict each event, then add it to the history
"""
