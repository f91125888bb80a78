"""Molecules of `experiments.consistency`: those of `experiments.reliable_energy`, and rings of six."""

from collections.abc import Iterable

from experiments.reliable_molecules import MOLECULES as CHAINS
from experiments.reliable_molecules import VALIDATION as VALIDATION  # settings are chosen on these alone

_RINGS = """
c1ccccc1 Cc1ccccc1 Oc1ccccc1 Nc1ccccc1 O=Cc1ccccc1 N#Cc1ccccc1 C#Cc1ccccc1 O=C(O)c1ccccc1 Oc1ccccc1O
Oc1cccc(O)c1 Oc1ccc(O)cc1 Nc1ccccc1O Nc1ccc(O)cc1 O=Cc1ccccc1O O=Cc1ccc(O)cc1 N#Cc1ccc(O)cc1 COc1ccncc1
NC(=O)c1ccncc1 c1ccncc1 Cc1ccncc1 Cc1ccccn1 Oc1ccncc1 Nc1ccccn1 N#Cc1cccnc1 O=Cc1cccnc1 O=C(O)c1cccnc1
c1cncnc1 c1cnccn1 Cc1cnccn1 Nc1ncccn1 Oc1ccncn1 O=C1C=CC(=O)C=C1 C=Cc1ccncc1
O=COc1ccccc1 O=[N+]([O-])c1ccccc1
"""

MOLECULES: tuple[str, ...] = (*CHAINS, *_RINGS.split())


def smallest(smiles: Iterable[str], heavy: int) -> tuple[str, ...]:
    """Those of C, N and O, and hydrogen, with so many heavy atoms at most."""
    return tuple(text for text in smiles if sum(letter in "CNOcno" for letter in text) <= heavy)
