"""Terms of the scores of a trained recommender."""

from chronotope.contracts.queries import Queries
from chronotope.contracts.user_attributes import context_columns
from chronotope.models.batch import to_batch
from chronotope.models.explained.score_terms import ScoreTerms, score_terms
from chronotope.training.prequential import MIN_WIDTH
from chronotope.training.recommender import ChronotopeRecommender


def recommender_terms(model: ChronotopeRecommender, queries: Queries) -> ScoreTerms:
    """Terms that the logits of all items are the sum of.

    Args:
        model: A trained recommender.
        queries: B queries.

    Raises:
        ConfigError: The network has no kernels.
    """
    width = max(MIN_WIDTH, min(queries.item_idx.shape[1], model.model.history_len))
    columns = (*model.model.context, *context_columns(model.attributes))
    return score_terms(model.net.eval(), to_batch(queries, width, columns), model.priors)
