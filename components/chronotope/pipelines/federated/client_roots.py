"""Check of the clients' project roots before a federation starts."""

from chronotope.contracts.errors import ConfigError
from chronotope.federated.clients.client_data import LOG_FILE, ClientFolder
from chronotope.lake import Lake
from chronotope.pipelines.federated.settings import FederatedSettings
from chronotope.pipelines.federated.simulated_clients import named_clients


def require_client_lakes(settings: FederatedSettings, dataset: str) -> None:
    """Check that every named client has a lake of the dataset.

    Args:
        settings: Clients; simulated ones and those behind an exchange are not checked.
        dataset: Name of the dataset.

    Raises:
        ConfigError: Some have none; all of them are named.
    """
    problems = [
        f"{client.root}: {problem}"
        for client in named_clients(settings)
        if (problem := _problem_of(client, dataset))
    ]
    if problems:
        raise ConfigError(
            f"{len(problems)} of {len(settings.clients)} clients have no lake of {dataset}",
            received="; ".join(problems),
            way_out="Correct their folders, or ingest their events with "
            f"`chronotope ingest {dataset} --root FOLDER`",
        )


def _problem_of(client: ClientFolder, dataset: str) -> str:
    """Why a client cannot take part; "" if it can."""
    if not client.root.is_dir():
        return "no such folder"
    has_log = (client.state(dataset) / LOG_FILE).exists()
    if has_log or Lake(client.lake(dataset)).exists("events"):
        return ""
    return "no events were ingested"
