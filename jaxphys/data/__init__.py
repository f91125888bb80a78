"""Readers and generators of molecules."""

from jaxphys.data.geometries import embed as embed
from jaxphys.data.geometries import thermal as thermal
from jaxphys.data.xyz import read_xyz as read_xyz
from jaxphys.data.xyz import write_xyz as write_xyz
